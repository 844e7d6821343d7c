//! Low-rank adapters in PEFT's format: `y = W x + (alpha / rank) · B A x`.
//!
//! Hu et al. 2021, arXiv 2106.09685. Reads and writes `adapter_config.json` and
//! `adapter_model.safetensors`, so that PEFT can load what is trained here and
//! the other way round. Only plain LoRA without biases and dropout; everything
//! else in an adapter's configuration is refused by name.

use std::path::Path;

use serde_json::Value as Json;

use crate::{Error, Result, files};

/// File that describes an adapter.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// File with an adapter's weights.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before each module name.
pub(crate) const PREFIX: &str = "base_model.model.";

/// Which modules are adapted, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// Rank of the update.
    pub rank: usize,
    /// The update is scaled by `alpha / rank`, or by `alpha / sqrt(rank)`.
    pub alpha: f64,
    /// Last parts of module names, such as `query` or `q_proj`; `all-linear`
    /// alone means every linear module of the layers.
    pub targets: Vec<String>,
    /// Scale by `alpha / sqrt(rank)` (rsLoRA, arXiv 2312.03732).
    pub rank_stabilised: bool,
    /// What `adapter_config.json` calls the base model.
    pub base: Option<String>,
}

impl Lora {
    /// Plain LoRA on modules named by their last parts.
    pub fn new(rank: usize, alpha: f64, targets: &[&str]) -> Self {
        Self {
            rank,
            alpha,
            targets: targets.iter().map(|&target| target.to_owned()).collect(),
            rank_stabilised: false,
            base: None,
        }
    }

    /// Factor of the update.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha
            / if self.rank_stabilised {
                rank.sqrt()
            } else {
                rank
            }
    }

    /// Whether the module of this full name is adapted.
    pub fn applies(&self, module: &str) -> bool {
        self.targets.iter().any(|target| {
            target == "all-linear"
                || module == target
                || module
                    .strip_suffix(target.as_str())
                    .is_some_and(|rest| rest.ends_with('.'))
        })
    }

    /// Reads `adapter_config.json` in `dir`.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(ADAPTER_CONFIG);
        Self::parse(&files::read_text(&path)?, &path)
    }

    /// Parses the text of an `adapter_config.json`; errors name `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let json: Json =
            serde_json::from_str(text).map_err(|error| Error::not_json(path, error))?;
        let field = |name: &str| json.get(name).filter(|value| !value.is_null());
        let wrong = |detail: String| Error::config(path, detail);
        match field("peft_type").and_then(Json::as_str) {
            Some("LORA") => {}
            other => {
                return Err(wrong(format!(
                    "peft_type is {other:?}; only \"LORA\" adapters are supported"
                )));
            }
        }
        // Settings that change the computation; the value that means "off".
        let off: &[(&str, &[Json])] = &[
            ("bias", &[Json::from("none")]),
            ("use_dora", &[Json::from(false)]),
            ("fan_in_fan_out", &[Json::from(false)]),
            ("lora_bias", &[Json::from(false)]),
            ("modules_to_save", &[serde_json::json!([])]),
            ("layers_to_transform", &[serde_json::json!([])]),
            ("rank_pattern", &[serde_json::json!({})]),
            ("alpha_pattern", &[serde_json::json!({})]),
            ("trainable_token_indices", &[serde_json::json!([])]),
            ("target_parameters", &[serde_json::json!([])]),
            ("exclude_modules", &[serde_json::json!([])]),
            ("layer_replication", &[serde_json::json!([])]),
            ("alora_invocation_tokens", &[serde_json::json!([])]),
            ("use_qalora", &[Json::from(false)]),
            ("use_bdlora", &[Json::from(false)]),
        ];
        for (name, accepted) in off {
            if let Some(value) = field(name)
                && !accepted.contains(value)
            {
                return Err(wrong(format!(
                    "field `{name}` is {value}, which is not supported; train the adapter with {name} = {}",
                    accepted[0]
                )));
            }
        }
        let targets: Option<Vec<String>> = match field("target_modules") {
            Some(Json::String(all)) if all == "all-linear" => Some(vec![all.clone()]),
            Some(Json::Array(list)) => list
                .iter()
                .map(|name| name.as_str().map(str::to_owned))
                .collect(),
            _ => None,
        };
        let mut targets = targets.filter(|list| !list.is_empty()).ok_or_else(|| {
            wrong(
                "field `target_modules` must be a list of module names or \"all-linear\"; patterns are not supported"
                    .to_owned(),
            )
        })?;
        targets.sort();
        let rank = field("r")
            .and_then(Json::as_u64)
            .filter(|r| (1..=65_536).contains(r))
            .ok_or_else(|| wrong("field `r` must be a positive integer".to_owned()))?;
        let alpha = field("lora_alpha")
            .and_then(Json::as_f64)
            .filter(|alpha| alpha.is_finite())
            .ok_or_else(|| wrong("field `lora_alpha` must be a number".to_owned()))?;
        Ok(Self {
            rank: rank as usize,
            alpha,
            targets,
            rank_stabilised: field("use_rslora").and_then(Json::as_bool).unwrap_or(false),
            base: field("base_model_name_or_path")
                .and_then(Json::as_str)
                .map(str::to_owned),
        })
    }

    /// The text of an `adapter_config.json` that PEFT reads. `task` is PEFT's
    /// `task_type`, such as `FEATURE_EXTRACTION` or `CAUSAL_LM`.
    pub fn to_json(&self, task: &str) -> String {
        let mut targets = self.targets.clone();
        targets.sort();
        let targets: Json = if targets == ["all-linear"] {
            "all-linear".into()
        } else {
            targets.into()
        };
        let json = serde_json::json!({
            "peft_type": "LORA",
            "task_type": task,
            "base_model_name_or_path": self.base,
            "r": self.rank,
            "lora_alpha": self.alpha,
            "target_modules": targets,
            "lora_dropout": 0.0,
            "bias": "none",
            "use_rslora": self.rank_stabilised,
            "use_dora": false,
            "fan_in_fan_out": false,
            "modules_to_save": null,
            "inference_mode": true,
        });
        format!("{json:#}\n")
    }
}
