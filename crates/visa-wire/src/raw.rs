//! JSON objects opened one level deep, so that what is not understood is passed on byte for byte.
//!
//! A proxy that parses a body into values and prints it again changes numbers too large for a float, the spelling of
//! strings, and blanks. [`RawObject`] keeps each member's text as it came; only members that are set anew are printed.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Deepest nesting that [`depth`] counts before it gives up.
const COUNTED: usize = 1 << 20;

/// Ways in which bytes are not an object that can be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RawError {
    /// No JSON, or JSON that is not an object.
    #[error("{problem}")]
    NotAnObject {
        /// What the parser said.
        problem: String,
    },
    /// A member occurs twice, which different readers understand differently.
    #[error("the member {name:?} occurs twice; send it once")]
    Twice {
        /// Its name.
        name: String,
    },
    /// A member that is well-formed and still cannot be held: a number beyond every float, half of a surrogate pair.
    #[error("the member {name:?} cannot be read: {problem}")]
    Unreadable {
        /// Its name.
        name: String,
        /// What the parser said.
        problem: String,
    },
}

/// An object's members in order, each value as the text it came in.
#[derive(Clone, Debug, Default)]
pub struct RawObject {
    members: Vec<(String, Box<RawValue>)>,
}

impl RawObject {
    /// Opens an object.
    ///
    /// # Errors
    /// [`RawError`]; never panics, whatever the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, RawError> {
        let Members(members) =
            serde_json::from_slice(bytes).map_err(|e| RawError::NotAnObject {
                problem: e.to_string(),
            })?;
        let mut seen = std::collections::HashSet::new();
        for (name, _) in &members {
            if !seen.insert(name.as_str()) {
                return Err(RawError::Twice { name: name.clone() });
            }
        }
        Ok(Self { members })
    }

    /// The text of a member.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.members
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.get())
    }

    /// A member as a value; `None` when it is missing.
    ///
    /// # Errors
    /// [`RawError::Unreadable`]: opening an object checks its grammar alone, and some of what is grammatical is no value.
    pub fn value(&self, name: &str) -> Result<Option<Value>, RawError> {
        let read = |text| serde_json::from_str(text);
        self.get(name)
            .map(read)
            .transpose()
            .map_err(|e| RawError::Unreadable {
                name: name.to_string(),
                problem: e.to_string(),
            })
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Option<Box<RawValue>> {
        let at = self.members.iter().position(|(n, _)| n == name)?;
        Some(self.members.remove(at).1)
    }

    /// Sets a member, in its place if it is there and at the end otherwise.
    ///
    /// # Errors
    /// A value that JSON cannot say.
    pub fn set<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> serde_json::Result<()> {
        let value = serde_json::value::to_raw_value(value)?;
        match self.members.iter_mut().find(|(n, _)| n == name) {
            Some(member) => member.1 = value,
            None => self.members.push((name.to_string(), value)),
        }
        Ok(())
    }

    /// Sets a member to JSON text that is there already.
    pub fn set_raw(&mut self, name: &str, value: Box<RawValue>) {
        match self.members.iter_mut().find(|(n, _)| n == name) {
            Some(member) => member.1 = value,
            None => self.members.push((name.to_string(), value)),
        }
    }

    /// Names of the members, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(n, _)| n.as_str())
    }

    /// The object as JSON text.
    pub fn print(&self) -> String {
        let length: usize = self
            .members
            .iter()
            .map(|(n, v)| n.len() + v.get().len() + 4)
            .sum();
        let mut out = String::with_capacity(length + 2);
        out.push('{');
        for (i, (name, value)) in self.members.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            // A string serialises without fail.
            out.push_str(&serde_json::to_string(name).unwrap_or_default());
            out.push(':');
            out.push_str(value.get());
        }
        out.push('}');
        out
    }

    /// The object as JSON that can be set as another's member.
    ///
    /// # Errors
    /// None in practice: the members are JSON already.
    pub fn into_raw(self) -> serde_json::Result<Box<RawValue>> {
        RawValue::from_string(self.print())
    }
}

/// The elements of a list, each as the text it came in.
///
/// # Errors
/// [`RawError::NotAnObject`] when the text is no list.
pub fn raw_list(text: &str) -> Result<Vec<Box<RawValue>>, RawError> {
    serde_json::from_str(text).map_err(|e| RawError::NotAnObject {
        problem: e.to_string(),
    })
}

/// How deep brackets nest in some JSON text, told without parsing it: a parser that recurses should not meet a depth it
/// has no stack for. Bytes that are no JSON give some number.
pub fn depth(bytes: &[u8]) -> usize {
    let (mut now, mut most) = (0usize, 0usize);
    let (mut quoted, mut escaped) = (false, false);
    for &byte in bytes {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => {
                now = (now + 1).min(COUNTED);
                most = most.max(now);
            }
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// Members in order, repetitions included.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_touched_stays_byte_for_byte() {
        let check = |body: &str, expected: &str| {
            let mut object = RawObject::parse(body.as_bytes()).expect("an object");
            object.remove("gone");
            object.set("new", "é").expect("a string");
            assert_eq!(object.print(), expected);
        };
        check(
            r#"{"big":123456789012345678901234567890.10e400, "gone":1,"s":"\u00e9", "n":{"a" : 1.0}}"#,
            r#"{"big":123456789012345678901234567890.10e400,"s":"\u00e9","n":{"a" : 1.0},"new":"é"}"#,
        );
        check(r#"{"new":1,"a":2}"#, r#"{"new":"é","a":2}"#);
        check("{}", r#"{"new":"é"}"#);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for wrong in ["", "[]", "1", "{\"a\":", "{\"a\":1}x", "{\"a\":nan}"] {
            assert!(
                matches!(
                    RawObject::parse(wrong.as_bytes()),
                    Err(RawError::NotAnObject { .. })
                ),
                "{wrong}"
            );
        }
        assert_eq!(
            RawObject::parse(br#"{"a":1,"\u0061":2}"#).expect_err("twice"),
            RawError::Twice { name: "a".into() }
        );
    }

    #[test]
    fn what_is_no_value_is_not_missing() {
        let object = RawObject::parse(br#"{"n":1e400,"s":"\ud800","a":[1]}"#).expect("an object");
        for name in ["n", "s"] {
            let error = object.value(name).expect_err(name);
            assert!(matches!(error, RawError::Unreadable { .. }), "{error}");
        }
        assert_eq!(object.value("a"), Ok(Some(serde_json::json!([1]))));
        assert_eq!(object.value("b"), Ok(None));
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        let check = |text: &str, expected: usize| assert_eq!(depth(text.as_bytes()), expected);
        check("1", 0);
        check(r#"{"a":[1,[2]],"b":{}}"#, 3);
        check(r#"{"a":"[[[[\"[[["}"#, 1);
        check(&"[".repeat(100_000), 100_000);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = RawObject::parse(&bytes);
            let _ = depth(&bytes);
        }

        #[test]
        fn printing_keeps_every_value(names in prop::collection::hash_set("[a-z\"\\\\é]{0,6}", 0..6), numbers: [i64; 6]) {
            let value: Value = names.iter().cloned().zip(numbers.map(Value::from)).collect::<serde_json::Map<_, _>>().into();
            let text = value.to_string();
            let object = RawObject::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&object.print()).unwrap(), value);
        }
    }
}
