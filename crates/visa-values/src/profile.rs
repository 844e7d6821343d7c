//! Profiles, shifts and targets: ten finite numbers in range, by construction.
//!
//! In JSON and TOML each is an object of value names and numbers; a missing value is 0, an unknown one an error that
//! names it. On a command line they are `tradition=+0.8, power=-0.5`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{NAMES, Value, ValueError, metrics, names};

/// What a text speaks: for each value from −1 (rejects it) over 0 (is silent) to 1 (embraces it).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Profile([f32; 10]);

/// A wanted change of a profile, for each value from −2 to 2: as far as from one end to the other.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Shift([f32; 10]);

/// The profile a rewrite should speak.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Target(Profile);

impl Profile {
    /// A profile from numbers in circle order.
    ///
    /// # Errors
    /// A number that is not finite or not in −1..=1.
    pub fn new(values: [f32; 10]) -> Result<Self, ValueError> {
        check(&values)
    }

    /// A text that speaks no value.
    pub const fn zero() -> Self {
        Profile([0.0; 10])
    }

    /// The number of one value.
    pub const fn get(&self, value: Value) -> f32 {
        self.0[value.index()]
    }

    /// All ten, in circle order.
    pub const fn as_array(&self) -> &[f32; 10] {
        &self.0
    }

    /// Values with their numbers, in circle order.
    pub fn iter(&self) -> impl Iterator<Item = (Value, f32)> + '_ {
        Value::ALL.into_iter().zip(self.0)
    }

    /// The value of the largest number if any is above 0; of equals the first on the circle.
    pub fn strongest(&self) -> Option<Value> {
        self.iter()
            .fold(None, |best: Option<(Value, f32)>, (value, v)| {
                let bar = best.map_or(0.0, |(_, b)| b);
                if v > bar { Some((value, v)) } else { best }
            })
            .map(|(value, _)| value)
    }

    /// Reads `tradition=0.8, power=-0.5`; values not named are 0.
    ///
    /// # Errors
    /// As [`Shift::parse`], with the range −1..=1.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        parse(text)
    }

    /// The shift that leads from here to `to`.
    pub fn shift_to(&self, to: &Profile) -> Shift {
        Shift(std::array::from_fn(|i| to.0[i] - self.0[i]))
    }
}

impl Shift {
    /// A shift from numbers in circle order.
    ///
    /// # Errors
    /// A number that is not finite or not in −2..=2.
    pub fn new(values: [f32; 10]) -> Result<Self, ValueError> {
        check(&values)
    }

    /// No change.
    pub const fn zero() -> Self {
        Shift([0.0; 10])
    }

    /// The change of one value.
    pub const fn get(&self, value: Value) -> f32 {
        self.0[value.index()]
    }

    /// All ten, in circle order.
    pub const fn as_array(&self) -> &[f32; 10] {
        &self.0
    }

    /// Values with their changes, in circle order.
    pub fn iter(&self) -> impl Iterator<Item = (Value, f32)> + '_ {
        Value::ALL.into_iter().zip(self.0)
    }

    /// Whether nothing is to change.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|&d| d == 0.0)
    }

    /// Euclidean size |Δv|.
    pub fn norm(&self) -> f32 {
        metrics::norm(&self.0)
    }

    /// Reads `tradition=+0.8, power=-0.5`: names and numbers, `=` or `:` between them, separated by commas, semicolons
    /// or lines. Values not named are 0.
    ///
    /// # Errors
    /// [`ValueError::Syntax`] if the text is something else (then it may be an instruction in words), an unknown or
    /// repeated name, a number that is not finite or not in −2..=2.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        parse(text)
    }
}

impl Target {
    /// This profile as a target.
    pub const fn new(profile: Profile) -> Self {
        Target(profile)
    }

    /// clip(profile + shift) to −1..=1.
    pub fn from_shift(profile: &Profile, shift: &Shift) -> Self {
        Target(Profile(std::array::from_fn(|i| {
            (profile.0[i] + shift.0[i]).clamp(-1.0, 1.0)
        })))
    }

    /// The profile to reach.
    pub const fn profile(&self) -> &Profile {
        &self.0
    }

    /// The number of one value.
    pub const fn get(&self, value: Value) -> f32 {
        self.0.get(value)
    }

    /// All ten, in circle order.
    pub const fn as_array(&self) -> &[f32; 10] {
        self.0.as_array()
    }

    /// Reads `tradition=0.8, power=-0.5`; values not named are 0.
    ///
    /// # Errors
    /// As [`Profile::parse`].
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        Profile::parse(text).map(Target)
    }
}

impl From<Profile> for Target {
    fn from(profile: Profile) -> Self {
        Target(profile)
    }
}

/// Ten numbers with a range: what profiles and shifts have in common, for reading and writing.
trait Ten: Sized {
    const WHAT: &'static str;
    const LIMIT: f32;
    fn from_checked(values: [f32; 10]) -> Self;
    fn numbers(&self) -> &[f32; 10];
}

impl Ten for Profile {
    const WHAT: &'static str = "profile";
    const LIMIT: f32 = 1.0;
    fn from_checked(values: [f32; 10]) -> Self {
        Profile(values)
    }
    fn numbers(&self) -> &[f32; 10] {
        &self.0
    }
}

impl Ten for Shift {
    const WHAT: &'static str = "shift";
    const LIMIT: f32 = 2.0;
    fn from_checked(values: [f32; 10]) -> Self {
        Shift(values)
    }
    fn numbers(&self) -> &[f32; 10] {
        &self.0
    }
}

/// Whether `got` is finite and within ±`limit`; `what` and `name` say where it stands.
pub(crate) fn check_number(
    what: &'static str,
    name: &str,
    got: f32,
    limit: f32,
) -> Result<(), ValueError> {
    let (low, high) = (-limit, limit);
    if !got.is_finite() {
        let name = name.to_owned();
        return Err(ValueError::NotFinite {
            what,
            name,
            low,
            high,
        });
    }
    if got.abs() > limit {
        let name = name.to_owned();
        return Err(ValueError::OutOfRange {
            what,
            name,
            got,
            low,
            high,
        });
    }
    Ok(())
}

fn check<T: Ten>(values: &[f32; 10]) -> Result<T, ValueError> {
    for (name, &got) in NAMES.iter().zip(values) {
        check_number(T::WHAT, name, got, T::LIMIT)?;
    }
    Ok(T::from_checked(*values))
}

/// Gathers named numbers, each at most once.
struct Gather<T> {
    values: [Option<f32>; 10],
    kind: PhantomData<T>,
}

impl<T: Ten> Gather<T> {
    fn new() -> Self {
        Gather {
            values: [None; 10],
            kind: PhantomData,
        }
    }

    fn add(&mut self, value: Value, number: f32) -> Result<(), ValueError> {
        check_number(T::WHAT, value.name(), number, T::LIMIT)?;
        let slot = &mut self.values[value.index()];
        if slot.replace(number).is_some() {
            let name = value.name().to_owned();
            return Err(ValueError::Twice {
                what: T::WHAT,
                name,
            });
        }
        Ok(())
    }

    fn done(self) -> T {
        T::from_checked(self.values.map(Option::unwrap_or_default))
    }
}

fn parse<T: Ten>(text: &str) -> Result<T, ValueError> {
    let mut gathered = Gather::<T>::new();
    let mut parts = text
        .split([',', ';', '\n'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .peekable();
    let syntax = |part: &str| ValueError::Syntax {
        part: names::shown(part),
    };
    if parts.peek().is_none() {
        return Err(syntax(text.trim()));
    }
    for part in parts {
        let (name, number) = part.split_once(['=', ':']).ok_or_else(|| syntax(part))?;
        // A typographic minus is what word processors make of "-0.5".
        let number = number.trim().replace(['\u{2212}', '\u{2013}'], "-");
        let number: f32 = number.parse().map_err(|_| syntax(part))?;
        gathered.add(name.parse()?, number)?;
    }
    Ok(gathered.done())
}

fn serialize<T: Ten, S: Serializer>(ten: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(10))?;
    for (name, number) in NAMES.iter().zip(ten.numbers()) {
        map.serialize_entry(name, number)?;
    }
    map.end()
}

impl<'de, T: Ten> Visitor<'de> for Gather<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an object of value names and numbers, as {{\"tradition\": 0.8}}"
        )
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<T, A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let value: Value = name.parse().map_err(A::Error::custom)?;
            // Read wide, so that a number too large for f32 is refused by the name of its value.
            let number: f64 = map.next_value()?;
            self.add(value, number as f32).map_err(A::Error::custom)?;
        }
        Ok(self.done())
    }
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Profile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Gather::<Profile>::new())
    }
}

impl Serialize for Shift {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Shift {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Gather::<Shift>::new())
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Profile::deserialize(deserializer).map(Target)
    }
}
