//! Units: their spellings, and which of them a number cannot lose.

/// Spellings of units and their normal form. A rewrite may not change one for another.
#[rustfmt::skip]
const UNITS: &[(&str, &[&str])] = &[
    ("%", &["%", "percent", "pct", "percentage", "percents"]),
    ("dollar", &["$", "dollar", "dollars", "usd", "bucks"]),
    ("euro", &["€", "euro", "euros", "eur"]),
    ("pound", &["£", "pound", "pounds", "gbp", "lb", "lbs", "quid"]),
    ("yen", &["¥", "yen", "jpy"]),
    ("rupee", &["₹", "rupee", "rupees", "inr"]),
    ("cent", &["¢", "cent", "cents"]),
    ("km", &["km", "kilometre", "kilometres", "kilometer", "kilometers", "kms"]),
    ("m", &["m", "metre", "metres", "meter", "meters"]),
    ("cm", &["cm", "centimetre", "centimetres", "centimeter", "centimeters"]),
    ("mm", &["mm", "millimetre", "millimetres", "millimeter", "millimeters"]),
    ("mile", &["mi", "mile", "miles"]),
    ("foot", &["ft", "foot", "feet"]),
    ("inch", &["inch", "inches"]),
    ("yard", &["yd", "yard", "yards"]),
    ("kg", &["kg", "kgs", "kilogram", "kilograms", "kilo", "kilos"]),
    ("g", &["g", "gram", "grams"]),
    ("mg", &["mg", "milligram", "milligrams"]),
    ("ton", &["ton", "tons", "tonne", "tonnes"]),
    ("ounce", &["oz", "ounce", "ounces"]),
    ("l", &["l", "litre", "litres", "liter", "liters"]),
    ("ml", &["ml", "millilitre", "millilitres", "milliliter", "milliliters"]),
    ("gallon", &["gallon", "gallons"]),
    ("hectare", &["ha", "hectare", "hectares"]),
    ("acre", &["acre", "acres"]),
    ("ms", &["millisecond", "milliseconds"]),
    ("second", &["seconds", "secs"]),
    ("minute", &["minute", "minutes", "mins"]),
    ("hour", &["hour", "hours", "hr", "hrs"]),
    ("day", &["day", "days"]),
    ("week", &["week", "weeks"]),
    ("month", &["month", "months"]),
    ("year", &["year", "years", "yr", "yrs"]),
    ("decade", &["decade", "decades"]),
    ("century", &["century", "centuries"]),
    ("degree", &["°", "degree", "degrees"]),
    ("mph", &["mph"]),
    ("kmh", &["kmh"]),
    ("kb", &["kb", "kilobyte", "kilobytes"]),
    ("mb", &["mb", "megabyte", "megabytes"]),
    ("gb", &["gb", "gigabyte", "gigabytes"]),
    ("tb", &["tb", "terabyte", "terabytes"]),
    ("w", &["watt", "watts"]),
    ("kw", &["kw", "kilowatt", "kilowatts"]),
];

/// Units without which a number says something else.
pub(crate) const ESSENTIAL: &[&str] = &["%", "dollar", "euro", "pound", "yen", "rupee", "cent"];

pub(crate) fn unit_of(word: &str) -> Option<&'static str> {
    UNITS
        .iter()
        .find(|(_, spellings)| spellings.contains(&word))
        .map(|(name, _)| *name)
}
