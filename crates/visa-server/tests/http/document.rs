//! The OpenAPI document is true: its examples are accepted, and answers have the shape it promises.

use serde_json::{Value, json};
use visa_align::Goal;
use visa_values::{Profile, Target};

use crate::fixture::start;

/// What of a value does not fit a schema; the few words of JSON Schema that the document uses.
fn misfit(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let target = document
            .pointer(name.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{name} is not in the document"));
        return misfit(document, target, value, at);
    }
    if let Some(ways) = schema["oneOf"].as_array() {
        let tries: Vec<String> = ways
            .iter()
            .filter_map(|way| misfit(document, way, value, at))
            .collect();
        return (tries.len() == ways.len()).then(|| tries.join(" or "));
    }
    let fits = match schema["type"].as_str() {
        None => true,
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some(other) => panic!("the type {other} at {at}"),
    };
    if !fits {
        return Some(format!("{at} is no {}: {value}", schema["type"]));
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        return Some(format!("{at} is {value}, not one of {known:?}"));
    }
    if let (Some(low), Some(x)) = (schema["minimum"].as_f64(), value.as_f64())
        && (x < low || schema["maximum"].as_f64().is_some_and(|high| x > high))
    {
        return Some(format!("{at} is {x}"));
    }
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if value.get(name).is_none() {
            return Some(format!("{at} has no {name}"));
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let known = schema["properties"].get(name);
        let known = known.or_else(|| {
            schema["additionalProperties"]
                .as_object()
                .map(|_| &schema["additionalProperties"])
        });
        match known {
            Some(schema) => {
                if let Some(why) = misfit(document, schema, inner, &format!("{at}.{name}")) {
                    return Some(why);
                }
            }
            None if schema["additionalProperties"] == json!(false) => {
                return Some(format!("{at} has {name}"));
            }
            None => {}
        }
    }
    if let (Some(list), false) = (value.as_array(), schema["items"].is_null()) {
        for (i, inner) in list.iter().enumerate() {
            if let Some(why) = misfit(document, &schema["items"], inner, &format!("{at}[{i}]")) {
                return Some(why);
            }
        }
    }
    None
}

#[tokio::test]
async fn examples_are_accepted_and_answers_fit() {
    let runs = tempfile::tempdir().expect("a folder");
    let run = runs.path().join("lm");
    std::fs::create_dir(&run).expect("a run's folder");
    std::fs::write(
        run.join("metrics.jsonl"),
        "{\"kind\":\"train\",\"step\":1,\"loss\":2.5}\n",
    )
    .expect("a run's figures");
    let server = start(|o| {
        o.proxy.goal = Some(Goal::Target(Target::new(
            Profile::parse("power=0.5").expect("a profile"),
        )));
        o.rewrite.rounds = 1;
        o.runs = Some(runs.path().to_path_buf());
    })
    .await;
    let document = server.get("/openapi.json").await.ok();
    // Reading and forgetting need something written.
    let order = |method: &str| match method {
        "put" => 0,
        "delete" => 2,
        _ => 1,
    };
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            all.push((
                order(method),
                path.clone(),
                method.clone(),
                operation.clone(),
            ));
        }
    }
    all.sort_by_key(|(order, ..)| *order);
    for (_, path, method, operation) in all {
        let mut filled = path.clone();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] == "path" {
                let name = parameter["name"].as_str().expect("a name");
                let example = parameter["example"].as_str().expect("an example");
                filled = filled.replace(&format!("{{{name}}}"), example);
            }
        }
        let what = format!("{method} {path}");
        let mut request = server.http.request(
            method.to_uppercase().parse().expect("a method"),
            format!("{}{filled}", server.base),
        );
        let body = &operation["requestBody"]["content"]["application/json"];
        if !body.is_null() {
            let why = misfit(&document, &body["schema"], &body["example"], "example");
            assert_eq!(why, None, "{what}");
            request = request.json(&body["example"]);
        }
        let answer = server.send(request).await;
        let promised = &operation["responses"][answer.status.to_string()];
        assert!(
            !promised.is_null(),
            "{what}: {} {}",
            answer.status,
            answer.text
        );
        let schema = &promised["content"]["application/json"]["schema"];
        if !schema.is_null() {
            assert_eq!(
                misfit(&document, schema, &answer.json(), "answer"),
                None,
                "{what}"
            );
        }
        if !body.is_null() {
            let request = server.http.request(
                method.to_uppercase().parse().expect("a method"),
                format!("{}{filled}", server.base),
            );
            let broken = server
                .send(
                    request
                        .header("content-type", "application/json")
                        .body("{\"a\":"),
                )
                .await;
            assert_eq!(broken.status, 400, "{what}: {}", broken.text);
            if path != "/mcp" {
                let error =
                    &operation["responses"]["default"]["content"]["application/json"]["schema"];
                assert_eq!(
                    misfit(&document, error, &broken.json(), "error"),
                    None,
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn the_check_finds_what_does_not_fit() {
    let document = json!({"components": {"schemas": {"A": {"type": "object", "required": ["x"], "properties": {"x": {"type": "number", "minimum": 0, "maximum": 1}}, "additionalProperties": false}}}});
    let schema = json!({"oneOf": [{"$ref": "#/components/schemas/A"}, {"type": "array", "items": {"$ref": "#/components/schemas/A"}}]});
    let check = |value: Value, fits: bool| {
        assert_eq!(
            misfit(&document, &schema, &value, "v").is_none(),
            fits,
            "{value}"
        );
    };
    check(json!({"x": 0.5}), true);
    check(json!([{"x": 0.5}, {"x": 1}]), true);
    check(json!({"x": 2}), false);
    check(json!({}), false);
    check(json!({"x": 1, "y": 1}), false);
    check(json!([{"x": "a"}]), false);
}
