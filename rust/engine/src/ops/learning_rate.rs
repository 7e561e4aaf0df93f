//! Learning rate schedules as an operation on the step variable.

use std::f64::consts::PI;

use super::attributes::Attributes;
use super::{Lowering, Op, Work, expect_inputs};
use crate::error::Error;
use crate::step::Kernel;
use crate::types::{DType, TensorType};

/// How the rate follows the step once warmup is over.
#[derive(Clone, Debug, PartialEq)]
enum Schedule {
    /// `values[i]` with `i` the first index where `step <= boundaries[i]`, else the last.
    PiecewiseConstant { boundaries: Vec<i64>, values: Vec<f64> },
    /// `base * ((1 - alpha) * (1 + cos(pi * c / steps)) / 2 + alpha)` with `c = min(step, steps)`.
    Cosine { base: f64, steps: i64, alpha: f64 },
}

impl Schedule {
    fn base(&self) -> f64 {
        match self {
            Self::PiecewiseConstant { values, .. } => values[0],
            Self::Cosine { base, .. } => *base,
        }
    }

    fn at(&self, step: i64) -> f64 {
        match self {
            Self::PiecewiseConstant { boundaries, values } => {
                values[boundaries.iter().take_while(|boundary| step > **boundary).count()]
            }
            Self::Cosine { base, steps, alpha } => {
                let progress = step.min(*steps) as f64 / *steps as f64;
                base * ((1.0 - alpha) * 0.5 * (1.0 + (PI * progress).cos()) + alpha)
            }
        }
    }
}

/// A ramp before the schedule begins: at step 0 the rate is `start * base`, at `steps` it is `base`.
#[derive(Clone, Debug, PartialEq)]
struct LinearWarmup {
    steps: i64,
    start: f64,
}

/// The rate, float32 of shape `(1,)`, from the step before this run's increment. As in the
/// original, arithmetic is in double and the base rates are kept in float32.
#[derive(Clone, Debug)]
pub struct LearningRate {
    schedule: Schedule,
    warmup: Option<LinearWarmup>,
}

fn single(value: f64) -> f64 {
    f64::from(value as f32)
}

impl LearningRate {
    /// Reads `schedule` and its parameters, and `warmup` and its own.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let schedule = match attributes.text("schedule")?.as_str() {
            "piecewise_constant" => {
                let boundaries = attributes.ints("boundaries")?;
                let values: Vec<f64> =
                    attributes.floats("values")?.into_iter().map(single).collect();
                if values.len() != boundaries.len() + 1 {
                    let (values, boundaries) = (values.len(), boundaries.len());
                    return Err(Error::Argument(format!(
                        "{boundaries} boundaries need {} values, not {values}",
                        boundaries + 1
                    )));
                }
                Schedule::PiecewiseConstant { boundaries, values }
            }
            "cosine" => Schedule::Cosine {
                base: single(attributes.float("base")?),
                steps: positive(attributes.int("steps")?)?,
                alpha: attributes.float("alpha")?,
            },
            other => return Err(Error::Argument(format!("there is no schedule {other}"))),
        };
        let warmup = match attributes.text("warmup")?.as_str() {
            "none" => None,
            "linear" => Some(LinearWarmup {
                steps: positive(attributes.int("warmup_steps")?)?,
                start: attributes.float("warmup_start")?,
            }),
            other => return Err(Error::Argument(format!("there is no warmup {other}"))),
        };
        Ok(Self { schedule, warmup })
    }

    /// The rate at a step.
    pub fn at(&self, step: i64) -> f64 {
        match &self.warmup {
            Some(warmup) if step < warmup.steps => {
                let progress = step as f64 / warmup.steps as f64;
                self.schedule.base() * (warmup.start + (1.0 - warmup.start) * progress)
            }
            _ => self.schedule.at(step),
        }
    }
}

fn positive(steps: i64) -> Result<i64, Error> {
    match steps > 0 {
        true => Ok(steps),
        false => Err(Error::Argument(format!("steps must be positive, found {steps}"))),
    }
}

impl Op for LearningRate {
    fn name(&self) -> &'static str {
        "learning_rate"
    }

    fn attributes(&self) -> String {
        match &self.warmup {
            None => format!("{:?}", self.schedule),
            Some(warmup) => format!("{:?}, {warmup:?}", self.schedule),
        }
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [step] = expect_inputs(inputs)?;
        match step == TensorType::new(DType::I64, [1]) {
            true => Ok(vec![TensorType::new(DType::F32, [1])]),
            false => Err(Error::Shape(format!("the step must be int64 of shape [1], not {step}"))),
        }
    }

    fn work(&self, _lowering: &Lowering<'_>) -> Work {
        Work::Moves
    }

    fn lower(&self, _lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let this = self.clone();
        Ok(Box::new(move |step| {
            let count = step.input::<i64>(0)[0];
            let rate = this.at(count) as f32;
            if !rate.is_finite() {
                return Err(Error::Range(format!("the learning rate is {rate} at step {count}")));
            }
            step.output::<f32>(0)[0] = rate;
            Ok(())
        }))
    }

    fn can_fail(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_belong_to_the_earlier_piece() {
        let schedule =
            Schedule::PiecewiseConstant { boundaries: vec![10, 30], values: vec![3.0, 2.0, 1.0] };
        let rates = [0, 10, 11, 30, 31].map(|step| schedule.at(step));
        assert_eq!(rates, [3.0, 3.0, 2.0, 2.0, 1.0]);
    }

    #[test]
    fn warmup_ramps_up_and_the_schedule_counts_from_zero() {
        let schedule = Schedule::Cosine { base: 1.0, steps: 20, alpha: 0.0 };
        let warmup = Some(LinearWarmup { steps: 10, start: 0.5 });
        let rate = LearningRate { schedule, warmup };
        assert_eq!([0, 5].map(|step| rate.at(step)), [0.5, 0.75]);
        assert!((rate.at(10) - 0.5).abs() < 1e-15);
        assert_eq!(rate.at(100), 0.0);
    }
}
