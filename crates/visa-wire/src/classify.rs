//! Classification as text-embeddings-inference (`/predict`) and vLLM (`/classify`) speak it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A text, or a text with a second one.
pub type Pair = (String, Option<String>);

/// The body of TEI's `/predict`; options about truncation are ignored, since nothing is cut off here.
#[derive(Clone, Debug, Deserialize)]
pub struct PredictRequest {
    /// A text, a pair, or a list of either.
    pub inputs: Value,
}

/// TEI's inputs, told apart as it does: `"a"` one text; `["a", "b"]` one pair; `[["a"], ["b", "c"]]` a list. The flag says
/// whether it was a list.
///
/// # Errors
/// What is none of these, in words.
pub fn predict_inputs(inputs: &Value) -> Result<(Vec<Pair>, bool), &'static str> {
    const WANTED: &str =
        "inputs must be a text, a pair of texts, or a list of lists of one or two texts";
    let pair = |list: &[Value]| -> Option<Pair> {
        match list {
            [Value::String(a)] => Some((a.clone(), None)),
            [Value::String(a), Value::String(b)] => Some((a.clone(), Some(b.clone()))),
            _ => None,
        }
    };
    match inputs {
        Value::String(text) => Ok((vec![(text.clone(), None)], false)),
        Value::Array(list) if list.iter().any(Value::is_string) => {
            Ok((vec![pair(list).ok_or(WANTED)?], false))
        }
        Value::Array(list) => {
            let pairs = list.iter().map(|item| pair(item.as_array()?));
            Ok((pairs.collect::<Option<_>>().ok_or(WANTED)?, true))
        }
        _ => Err(WANTED),
    }
}

/// One class of TEI's answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Its probability.
    pub score: f32,
    /// Its name.
    pub label: &'static str,
}

/// The body of vLLM's `/classify`.
#[derive(Clone, Debug, Deserialize)]
pub struct ClassifyRequest {
    /// The model's name, which is answered again.
    #[serde(default)]
    pub model: Option<String>,
    /// A text or a list of texts.
    pub input: Texts,
}

/// A text or a list of texts.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Texts {
    /// All of them.
    pub fn into_list(self) -> Vec<String> {
        match self {
            Texts::One(text) => vec![text],
            Texts::Many(texts) => texts,
        }
    }
}

/// One text's classes in vLLM's answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classified {
    /// Its place.
    pub index: usize,
    /// The class of the highest probability.
    pub label: &'static str,
    /// The probabilities, in the model's order.
    pub probs: Vec<f32>,
    /// How many.
    pub num_classes: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn inputs_are_told_apart() {
        type Expected<'a> = Option<(&'a [(&'a str, Option<&'a str>)], bool)>;
        let check = |inputs: Value, expected: Expected<'_>| {
            let found = predict_inputs(&inputs).ok();
            let expected = expected.map(|(pairs, list)| {
                let pairs = pairs
                    .iter()
                    .map(|(a, b)| (a.to_string(), b.map(str::to_string)));
                (pairs.collect::<Vec<_>>(), list)
            });
            assert_eq!(found, expected, "{inputs}");
        };
        check(json!("a"), Some((&[("a", None)], false)));
        check(json!(["a", "b"]), Some((&[("a", Some("b"))], false)));
        check(
            json!([["a"], ["b", "c"]]),
            Some((&[("a", None), ("b", Some("c"))], true)),
        );
        check(json!([]), Some((&[], true)));
        check(json!(["a", "b", "c"]), None);
        check(json!([["a"], "b"]), None);
        check(json!([[1]]), None);
        check(json!(5), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(request) = serde_json::from_slice::<PredictRequest>(&bytes) {
                let _ = predict_inputs(&request.inputs);
            }
            let _ = serde_json::from_slice::<ClassifyRequest>(&bytes);
        }
    }
}
