//! Bodies that the proxy opens one level deep: what is not set anew is printed as it came.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use visa_wire::raw::{RawObject, depth, raw_list};

fuzz_target!(|bytes: &[u8]| {
    let deep = depth(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = raw_list(text);
    }
    let Ok(mut object) = RawObject::parse(bytes) else {
        return;
    };
    assert!(deep >= 1, "an object is one level deep");
    let names: Vec<String> = object.names().map(String::from).collect();
    let printed = object.print();
    let again = RawObject::parse(printed.as_bytes()).expect("what was printed is read");
    for name in &names {
        assert_eq!(object.get(name), again.get(name), "{name:?}");
    }
    if deep <= 64
        && let Ok(whole) = serde_json::from_slice::<Value>(bytes)
    {
        for name in &names {
            let value = object.value(name).expect("it was read as a whole");
            assert_eq!(value.as_ref(), whole.get(name), "{name:?}");
        }
    }
    object.set("visa", &1).expect("a number is JSON");
    assert_eq!(object.get("visa"), Some("1"));
    for name in &names {
        object.remove(name);
    }
    object.remove("visa");
    assert_eq!(object.print(), "{}");
});
