//! The models of a run, loaded once, and one rewrite with them.

use visa_align::{
    Backend, Cancel, Checker, Detector, EmbeddedBackend, EndpointBackend, EndpointOptions, Goal,
    Loop, Models, Outcome, Progress, RewriteOptions, RewriteRequest, Translator, Trunk,
};

use crate::exit::{Failure, model, usage};
use crate::view::words;

/// The models of a run.
pub(super) struct Tools {
    detector: &'static Detector,
    checker: Checker,
    translator: Option<Translator>,
    models: Models,
    trunk: Trunk,
    backend: Box<dyn Backend>,
}

impl Tools {
    pub(super) fn load(
        models: &Models,
        endpoint: Option<EndpointOptions>,
        temperature: f64,
    ) -> Result<Self, Failure> {
        let trunk = Trunk::find(models).map_err(model)?;
        // The embedded rewriter reads values while it writes. Both live until the program ends, and so does this.
        let detector: &'static Detector =
            Box::leak(Box::new(Detector::find(models, &trunk).map_err(model)?));
        let backend: Box<dyn Backend> = match endpoint {
            Some(options) => Box::new(EndpointBackend::new(options).map_err(usage)?),
            None => {
                let mut backend = EmbeddedBackend::find(models, &trunk, detector).map_err(model)?;
                backend.options.temperature = temperature;
                Box::new(backend)
            }
        };
        Ok(Self {
            detector,
            checker: Checker::find(models, &trunk).map_err(model)?,
            translator: None,
            models: models.clone(),
            trunk,
            backend,
        })
    }

    /// Loads what only this goal needs: words need the translator.
    pub(super) fn prepare(&mut self, goal: &Goal) -> Result<(), Failure> {
        if self.translator.is_none() && matches!(goal, Goal::Instruction(_)) {
            let translator = Translator::find(&self.models, &self.trunk).map_err(model)?;
            self.translator = Some(translator);
        }
        Ok(())
    }

    pub(super) fn rewrite(
        &mut self,
        request: &RewriteRequest,
        options: &RewriteOptions,
        say: &dyn Fn(String),
    ) -> anyhow::Result<Outcome> {
        let mut rewriting = Loop {
            values: self.detector,
            checker: &self.checker,
            translator: self.translator.as_ref(),
            backend: self.backend.as_mut(),
            options: options.clone(),
        };
        let outcome =
            rewriting.rewrite(request, &Cancel::new(), &mut |progress| match progress {
                Progress::Asking { round, of } => {
                    say(format!(
                        "round {} of {of}: {} candidates",
                        round + 1,
                        options.candidates
                    ));
                }
                Progress::Judged {
                    best: Some(best), ..
                } => {
                    say(format!(
                        "values {}",
                        words::progress(best.score.value.progress)
                    ));
                }
                _ => {}
            })?;
        Ok(outcome)
    }
}
