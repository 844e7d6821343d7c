//! The learning rate as a function of the step, and nothing else: no state, so a resumed run
//! continues on the same curve.

use serde::{Deserialize, Serialize};

/// The shape of the curve after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Half a cosine from the peak to the floor.
    #[default]
    Cosine,
    /// A straight line from the peak to the floor.
    Linear,
    /// Warm-up, stable, decay: the peak until `decay` steps before the end, then a straight line
    /// to the floor. A run can be resumed with another number of steps without having wasted any.
    Wsd,
}

/// Warm-up, then a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// The curve.
    pub shape: Shape,
    /// The peak learning rate.
    pub lr: f64,
    /// Steps of linear warm-up from `lr / warmup` to `lr`.
    pub warmup: u64,
    /// The last learning rate as a fraction of the peak.
    pub floor: f64,
    /// Steps of decay; used by [`Shape::Wsd`] alone.
    pub decay: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            shape: Shape::Cosine,
            lr: 1e-3,
            warmup: 100,
            floor: 0.0,
            decay: 200,
        }
    }
}

impl Schedule {
    /// The rate used by step `step` (from 0) of `steps`.
    pub fn at(&self, step: u64, steps: u64) -> f64 {
        if step < self.warmup {
            return self.lr * (step + 1) as f64 / self.warmup as f64;
        }
        let fall = |left: f64| self.lr * (self.floor + (1.0 - self.floor) * left.clamp(0.0, 1.0));
        let done = (step - self.warmup) as f64;
        let span = steps.saturating_sub(self.warmup).max(1) as f64;
        match self.shape {
            Shape::Cosine => {
                fall(0.5 * (1.0 + (std::f64::consts::PI * (done / span).min(1.0)).cos()))
            }
            Shape::Linear => fall(1.0 - done / span),
            Shape::Wsd => fall(steps.saturating_sub(step) as f64 / self.decay.max(1) as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: Shape, step: u64, expected: f64) {
        let schedule = Schedule {
            shape,
            lr: 1.0,
            warmup: 10,
            floor: 0.1,
            decay: 20,
        };
        let rate = schedule.at(step, 110);
        assert!(
            (rate - expected).abs() < 1e-9,
            "{shape:?} at {step}: {rate}, expected {expected}"
        );
    }

    #[test]
    fn warm_up_is_linear_and_reaches_the_peak() {
        for shape in [Shape::Cosine, Shape::Linear, Shape::Wsd] {
            check(shape, 0, 0.1);
            check(shape, 4, 0.5);
            check(shape, 9, 1.0);
            check(shape, 10, 1.0);
        }
    }

    #[test]
    fn each_curve_falls_to_the_floor() {
        check(Shape::Cosine, 60, 0.55);
        check(Shape::Linear, 60, 0.55);
        check(Shape::Linear, 35, 0.1 + 0.9 * 0.75);
        check(Shape::Wsd, 60, 1.0);
        check(Shape::Wsd, 90, 1.0);
        check(Shape::Wsd, 100, 0.55);
        for shape in [Shape::Cosine, Shape::Linear, Shape::Wsd] {
            check(shape, 110, 0.1);
            check(shape, 500, 0.1);
        }
    }

    #[test]
    fn more_steps_leave_the_stable_phase_as_it_was() {
        let schedule = Schedule {
            shape: Shape::Wsd,
            ..Schedule::default()
        };
        for step in 0..700 {
            assert_eq!(schedule.at(step, 900), schedule.at(step, 2000));
        }
    }
}
