//! Random graphs of training steps: a list of small numbers becomes a graph, so that a failing case
//! shrinks to a short one.

use std::sync::Arc;

use flowrs_engine::ops::attributes::{Attribute, Attributes};
use flowrs_engine::ops::{self, Op};
use flowrs_engine::types::DType;
use flowrs_engine::{Builder, Graph, TensorType, ValueId, grad};
use proptest::prelude::*;

/// Extent of all axes: matrices are square, so that any two can be multiplied.
pub(crate) const SIDE: usize = 4;

/// What a graph is made from.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// For each operation its kind, and two numbers that choose its inputs.
    operations: Vec<(u8, u8, u8)>,
    /// The values that the caller wants.
    fetches: Vec<u8>,
    /// The value that is minimised.
    loss: u8,
    /// Which of the weights are trained, by bit.
    trained: u8,
    /// The update rule.
    rule: u8,
}

/// Recipes of up to 23 operations.
pub(crate) fn recipes() -> impl Strategy<Value = Recipe> {
    let operation = (any::<u8>(), any::<u8>(), any::<u8>());
    let operations = prop::collection::vec(operation, 0..24);
    let fetches = prop::collection::vec(any::<u8>(), 0..5);
    (operations, fetches, any::<u8>(), any::<u8>(), any::<u8>()).prop_map(
        |(operations, fetches, loss, trained, rule)| Recipe {
            operations,
            fetches,
            loss,
            trained,
            rule,
        },
    )
}

/// An operation by its name and attributes.
pub(crate) fn op(name: &str, attributes: &[(&str, Attribute)]) -> Arc<dyn Op> {
    let mut described = Attributes::default();
    for (key, value) in attributes {
        described.set(*key, value.clone());
    }
    ops::build(name, described).expect("the attributes are those of the operation")
}

/// Batch, channels, height and width of all images: as many elements as a matrix has.
const IMAGE: [usize; 4] = [2; 4];

/// A graph under construction, and its values by shape.
struct Cook {
    builder: Builder,
    matrices: Vec<ValueId>,
    vectors: Vec<ValueId>,
    images: Vec<ValueId>,
    /// Numbers a channel.
    pairs: Vec<ValueId>,
    kernels: Vec<(String, ValueId)>,
    labels: ValueId,
    count: usize,
}

/// One of the values; half of the numbers choose one of the two newest, so that chains grow.
fn chosen(values: &[ValueId], number: u8) -> ValueId {
    let choices = if number < 128 { values.len() } else { values.len().min(2) };
    values[values.len() - 1 - number as usize % choices]
}

fn float(shape: &[usize]) -> TensorType {
    TensorType::new(DType::F64, shape)
}

impl Cook {
    fn new() -> Self {
        let mut builder = Builder::default();
        let square = float(&[SIDE, SIDE]);
        let input = builder.input("x", square.clone()).expect("x is new");
        let labels =
            builder.input("labels", TensorType::new(DType::I32, [SIDE])).expect("labels are new");
        let mut matrices = vec![input];
        for name in ["w0", "w1", "w2"] {
            matrices.push(builder.variable(name, square.clone()).expect("weights are new"));
        }
        let vectors = vec![builder.variable("b", float(&[SIDE])).expect("b is new")];
        let image = builder.reshape(input, &IMAGE).expect("an image is as large as a matrix");
        let pairs = vec![builder.variable("c", float(&[2])).expect("c is new")];
        Self {
            builder,
            matrices,
            vectors,
            images: vec![image],
            pairs,
            kernels: vec![],
            labels,
            count: 0,
        }
    }

    fn add(&mut self, op: Arc<dyn Op>, inputs: &[ValueId]) -> Vec<ValueId> {
        self.count += 1;
        let name = format!("node{}", self.count);
        self.builder.add(op, inputs, &name).expect("all shapes fit")
    }

    fn matrix(&mut self, name: &str, attributes: &[(&str, Attribute)], inputs: &[ValueId]) {
        let made = self.add(op(name, attributes), inputs)[0];
        self.matrices.push(made);
    }

    fn vector(&mut self, name: &str, attributes: &[(&str, Attribute)], inputs: &[ValueId]) {
        let made = self.add(op(name, attributes), inputs)[0];
        self.vectors.push(made);
    }

    fn operation(&mut self, (kind, first, second): (u8, u8, u8)) {
        let (a, b) = (chosen(&self.matrices, first), chosen(&self.matrices, second));
        let (u, v) = (chosen(&self.vectors, first), chosen(&self.vectors, second));
        let axis = i64::from(second % 2);
        let along = [("axis", Attribute::Int(axis))];
        let over = [("axes", Attribute::Ints(vec![axis])), ("keepdims", Attribute::Bool(false))];
        match kind % 16 {
            _ if kind >= 160 => self.image_operation(kind, first, second),
            0 => self.matrix("add", &[], &[a, b]),
            1 => self.matrix("subtract", &[], &[a, v]),
            2 => self.matrix("multiply", &[], &[a, b]),
            3 => self.vector("multiply", &[], &[u, v]),
            4 | 5 => self.matrix("relu", &[], &[a]),
            6..=8 => {
                let attributes = [
                    ("transpose_a", Attribute::Bool(kind & 16 != 0)),
                    ("transpose_b", Attribute::Bool(kind & 32 != 0)),
                    ("alpha", Attribute::Float(if kind & 64 != 0 { 0.5 } else { 1.0 })),
                ];
                self.matrix("matmul", &attributes, &[a, b]);
            }
            9 | 10 => self.matrix("bias_add", &along, &[a, v]),
            11 => self.vector("reduce_sum", &over, &[a]),
            12 => self.vector("reduce_max", &over, &[a]),
            13 => self.matrix("identity", &[], &[a]),
            14 => self.matrix("softmax", &along, &[a]),
            _ => {
                let op = op("sparse_softmax_cross_entropy", &[]);
                let made = self.add(op, &[self.labels, a]);
                self.vectors.push(made[0]);
                self.matrices.push(made[1]);
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = ValueId> {
        let plain = self.pairs.iter().chain(&self.vectors).chain(&self.matrices);
        plain.chain(&self.images).copied()
    }

    fn image_operation(&mut self, kind: u8, first: u8, second: u8) {
        let (a, b) = (chosen(&self.images, first), chosen(&self.images, second));
        let matrix = chosen(&self.matrices, first);
        let pair = chosen(&self.pairs, second);
        let axis = ("axis", Attribute::Int(1));
        let image = match kind % 16 {
            0..=2 => {
                let groups = if second.is_multiple_of(3) { 2 } else { 1 };
                let shape = [2, 2 / groups, 3, 3];
                let name = format!("kernel{}", self.count);
                let kernel = self.builder.variable(&name, float(&shape)).expect("a new name");
                let (ones, same) = (vec![1, 1], vec![1, 1]);
                let attributes = [
                    ("strides", Attribute::Ints(ones.clone())),
                    ("dilations", Attribute::Ints(ones)),
                    ("padding_before", Attribute::Ints(same.clone())),
                    ("padding_after", Attribute::Ints(same)),
                    ("layout", Attribute::Text("channels_first".into())),
                    ("groups", Attribute::Int(groups as i64)),
                ];
                self.kernels.push((name, kernel));
                self.add(op("convolution", &attributes), &[a, kernel])[0]
            }
            3 | 4 => {
                let name = if kind % 16 == 3 { "max_pool" } else { "avg_pool" };
                let attributes = [
                    ("window", Attribute::Ints(vec![2, 2])),
                    ("strides", Attribute::Ints(vec![1, 1])),
                    ("padding_before", Attribute::Ints(vec![0, 1])),
                    ("padding_after", Attribute::Ints(vec![1, 0])),
                    ("layout", Attribute::Text("channels_first".into())),
                ];
                self.add(op(name, &attributes), &[a])[0]
            }
            5 | 6 => self.add(op("relu", &[]), &[a])[0],
            7 => self.add(op("add", &[]), &[a, b])[0],
            8 => self.add(op("multiply", &[]), &[a, b])[0],
            9 => self.add(op("bias_add", &[axis]), &[a, pair])[0],
            10 => {
                let attributes = [axis, ("epsilon", Attribute::Float(0.1))];
                self.add(op("batch_norm", &attributes), &[a, pair, pair])[0]
            }
            11 => {
                let over = [
                    ("axes", Attribute::Ints(vec![0, 2, 3])),
                    ("keepdims", Attribute::Bool(false)),
                ];
                let sum = self.add(op("reduce_sum", &over), &[a])[0];
                return self.pairs.push(sum);
            }
            12 => {
                let order = [("perm", Attribute::Ints(vec![0, 3, 1, 2]))];
                self.add(op("transpose", &order), &[a])[0]
            }
            13 | 14 => {
                let flat = self.builder.reshape(a, &[SIDE, SIDE]).expect("as many elements");
                return self.matrices.push(flat);
            }
            _ => self.builder.reshape(matrix, &IMAGE).expect("as many elements"),
        };
        self.images.push(image);
    }

    /// Adds the gradients of a loss and the updates of the weights that it depends on.
    fn train(&mut self, recipe: &Recipe) {
        let all: Vec<ValueId> = self.all().collect();
        let value = chosen(&all, recipe.loss);
        let mut weights =
            vec![("w0", self.matrices[1]), ("b", self.vectors[0]), ("c", self.pairs[0])];
        for (bit, name) in [(1, "w1"), (2, "w2")] {
            if recipe.trained & bit != 0 {
                weights.push((name, self.matrices[1 + usize::from(bit)]));
            }
        }
        let kernels = self.kernels.clone();
        weights.extend(kernels.iter().map(|(name, kernel)| (name.as_str(), *kernel)));
        let wrt: Vec<ValueId> = weights.iter().map(|(_, weight)| *weight).collect();
        let untouched = self.builder.clone();
        let gradients = grad::gradients(&mut self.builder, &[value], &wrt).unwrap_or_else(|_| {
            // The value depends on no weight: now it does.
            self.builder = untouched;
            let is_wide = self.builder.ty(value).shape.last() == Some(&SIDE);
            let vector = if is_wide { wrt[1] } else { wrt[2] };
            let loss = self.add(op("add", &[]), &[value, vector])[0];
            grad::gradients(&mut self.builder, &[loss], &wrt).expect("the loss depends on b or c")
        });
        let step_type = TensorType::new(DType::I64, [1]);
        let step = self.builder.variable("step", step_type).expect("step is new");
        let schedule = [
            ("schedule", Attribute::Text("piecewise_constant".into())),
            ("boundaries", Attribute::Ints(vec![])),
            ("values", Attribute::Floats(vec![0.3])),
            ("warmup", Attribute::Text("none".into())),
        ];
        let rate = self.add(op("learning_rate", &schedule), &[step])[0];
        for ((name, weight), gradient) in weights.into_iter().zip(gradients) {
            let Some(mut gradient) = gradient else { continue };
            if recipe.rule & 16 != 0 {
                gradient = self.builder.scale(gradient, 0.25).expect("gradients are floats");
            }
            self.update(recipe.rule, name, weight, gradient, rate, step);
        }
        self.builder.add(op("step_increment", &[]), &[step], "count").expect("step is an int64");
    }

    fn update(
        &mut self,
        rule: u8,
        name: &str,
        weight: ValueId,
        gradient: ValueId,
        rate: ValueId,
        step: ValueId,
    ) {
        let mut attributes = vec![
            ("scale", Attribute::Float(0.5)),
            ("weight_decay", Attribute::Float(f64::from(rule & 1) * 0.01)),
        ];
        let ty = self.builder.ty(weight).clone();
        let mut slot = |suffix: &str| {
            self.builder.variable(&format!("{name}-{suffix}"), ty.clone()).expect("slots are new")
        };
        let (kind, inputs) = match rule % 8 {
            0..=3 => ("sgd_update", vec![weight, gradient, rate]),
            4 | 5 => {
                attributes.push(("beta", Attribute::Float(0.9)));
                ("momentum_update", vec![weight, slot("momentum"), gradient, rate])
            }
            _ => {
                attributes.extend([
                    ("beta1", Attribute::Float(0.9)),
                    ("beta2", Attribute::Float(0.99)),
                    ("epsilon", Attribute::Float(0.1)),
                    ("bias_correction", Attribute::Bool(true)),
                ]);
                ("adam_update", vec![weight, slot("m"), slot("v"), gradient, rate, step])
            }
        };
        let name = format!("update-{name}");
        self.builder.add(op(kind, &attributes), &inputs, &name).expect("all shapes fit");
    }
}

impl Recipe {
    /// The graph.
    pub(crate) fn graph(&self) -> Graph {
        let mut cook = Cook::new();
        for operation in &self.operations {
            cook.operation(*operation);
        }
        let all: Vec<ValueId> = cook.all().collect();
        cook.train(self);
        for fetch in &self.fetches {
            cook.builder.fetch(chosen(&all, *fetch)).expect("the value is of this graph");
        }
        cook.builder.finish()
    }
}
