//! Training steps of whole networks, as graphs.

use flowrs_engine::ops;
use flowrs_engine::ops::attributes::{Attribute, Attributes};
use flowrs_engine::types::DType;
use flowrs_engine::{Builder, Graph, TensorType, ValueId, grad};

const BATCH: usize = 100;

/// A network under construction.
struct Network {
    builder: Builder,
    weights: Vec<ValueId>,
    nodes: usize,
}

fn floats(shape: &[usize]) -> TensorType {
    TensorType::new(DType::F32, shape)
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

impl Network {
    fn new() -> Self {
        Self { builder: Builder::default(), weights: vec![], nodes: 0 }
    }

    fn add(
        &mut self,
        name: &str,
        attributes: &[(&str, Attribute)],
        inputs: &[ValueId],
    ) -> Vec<ValueId> {
        let mut described = Attributes::default();
        for (key, value) in attributes {
            described.set(*key, value.clone());
        }
        let op = ops::build(name, described).expect("the attributes are those of the operation");
        self.nodes += 1;
        self.builder.add(op, inputs, &format!("node{}", self.nodes)).expect("all shapes fit")
    }

    fn weight(&mut self, shape: &[usize]) -> ValueId {
        let name = format!("weight{}", self.weights.len());
        let weight = self.builder.variable(&name, floats(shape)).expect("a new name");
        self.weights.push(weight);
        weight
    }

    fn bias(&mut self, x: ValueId, channels: usize) -> ValueId {
        let bias = self.weight(&[channels]);
        self.add("bias_add", &[("axis", Attribute::Int(1))], &[x, bias])[0]
    }

    /// A convolution of 5 x 5 with bias, relu and a pool of 2 x 2.
    fn convolution(&mut self, x: ValueId, inputs: usize, outputs: usize) -> ValueId {
        let layout = ("layout", Attribute::Text("channels_first".into()));
        let weight = self.weight(&[outputs, inputs, 5, 5]);
        let attributes = [
            ("strides", ints(&[1, 1])),
            ("dilations", ints(&[1, 1])),
            ("padding_before", ints(&[2, 2])),
            ("padding_after", ints(&[2, 2])),
            ("groups", Attribute::Int(1)),
            layout.clone(),
        ];
        let convolved = self.add("convolution", &attributes, &[x, weight])[0];
        let biased = self.bias(convolved, outputs);
        let positive = self.add("relu", &[], &[biased])[0];
        let attributes = [
            ("window", ints(&[2, 2])),
            ("strides", ints(&[2, 2])),
            ("padding_before", ints(&[0, 0])),
            ("padding_after", ints(&[0, 0])),
            layout,
        ];
        self.add("max_pool", &attributes, &[positive])[0]
    }

    fn dense(&mut self, x: ValueId, inputs: usize, outputs: usize) -> ValueId {
        let weight = self.weight(&[outputs, inputs]);
        let attributes = [
            ("transpose_a", Attribute::Bool(false)),
            ("transpose_b", Attribute::Bool(true)),
            ("alpha", Attribute::Float(1.0)),
        ];
        let product = self.add("matmul", &attributes, &[x, weight])[0];
        self.bias(product, outputs)
    }

    /// The step that trains all weights by SGD, with momentum or without, and gives the losses.
    fn train(mut self, logits: ValueId, labels: ValueId, momentum: bool) -> Graph {
        let loss = self.add("sparse_softmax_cross_entropy", &[], &[labels, logits])[0];
        let step = TensorType::new(DType::I64, [1]);
        let step = self.builder.variable("step", step).expect("a new name");
        let attributes = [
            ("schedule", Attribute::Text("piecewise_constant".into())),
            ("boundaries", ints(&[])),
            ("values", Attribute::Floats(vec![0.01])),
            ("warmup", Attribute::Text("none".into())),
        ];
        let rate = self.add("learning_rate", &attributes, &[step])[0];
        let weights = self.weights.clone();
        let gradients = grad::gradients(&mut self.builder, &[loss], &weights).expect("gradients");
        for (weight, gradient) in weights.into_iter().zip(gradients) {
            let gradient = gradient.expect("all weights have a part in the loss");
            let mut attributes = vec![
                ("scale", Attribute::Float(1.0 / BATCH as f64)),
                ("weight_decay", Attribute::Float(0.0)),
            ];
            if momentum {
                let ty = self.builder.ty(weight).clone();
                let name = format!("velocity{}", self.nodes);
                let velocity = self.builder.variable(&name, ty).expect("a new name");
                attributes.push(("beta", Attribute::Float(0.9)));
                self.add("momentum_update", &attributes, &[weight, velocity, gradient, rate]);
            } else {
                self.add("sgd_update", &attributes, &[weight, gradient, rate]);
            }
        }
        self.add("step_increment", &[], &[step]);
        self.builder.fetch(loss).expect("the loss is a value");
        self.builder.finish()
    }

    fn inputs(&mut self, image: &[usize]) -> (ValueId, ValueId) {
        let shape: Vec<usize> = [BATCH].iter().chain(image).copied().collect();
        let images = self.builder.input("images", floats(&shape)).expect("a new name");
        let labels = TensorType::new(DType::I32, [BATCH]);
        (images, self.builder.input("labels", labels).expect("a new name"))
    }
}

/// Two dense layers.
pub(crate) fn mlp() -> Graph {
    let mut network = Network::new();
    let (images, labels) = network.inputs(&[784]);
    let hidden = network.dense(images, 784, 512);
    let hidden = network.add("relu", &[], &[hidden])[0];
    let logits = network.dense(hidden, 512, 10);
    network.train(logits, labels, false)
}

/// Two convolutions and two dense layers.
pub(crate) fn lenet(momentum: bool) -> Graph {
    let mut network = Network::new();
    let (images, labels) = network.inputs(&[1, 28, 28]);
    let x = network.convolution(images, 1, 32);
    let x = network.convolution(x, 32, 64);
    let x = network.builder.reshape(x, &[BATCH, 3136]).expect("as many elements");
    let hidden = network.dense(x, 3136, 512);
    let hidden = network.add("relu", &[], &[hidden])[0];
    let logits = network.dense(hidden, 512, 10);
    network.train(logits, labels, momentum)
}
