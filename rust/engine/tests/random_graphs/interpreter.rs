//! Running graphs: whole plans, and node by node with a plan for each.

use std::collections::BTreeMap;

use flowrs_engine::graph::{Constant, Node, NodeKind, Number};
use flowrs_engine::run::{Input, Output};
use flowrs_engine::types::DType;
use flowrs_engine::{Builder, Error, Executable, Graph, Plan, Settings, TensorType, Variable};
use flowrs_kernels::{Isa, Parallel, Serial};

/// Bytes at an address that is aligned for every element type.
#[derive(Clone, Debug)]
pub(crate) struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// `length` bytes of a pattern that a kernel must write over.
    pub(crate) fn new(length: usize) -> Self {
        let memory = vec![0xa5; length + 64];
        let start = memory.as_ptr().align_offset(64);
        Self { memory, start, length }
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut aligned = Self::new(bytes.len());
        aligned.bytes_mut().copy_from_slice(bytes);
        aligned
    }

    pub(crate) fn floats(values: &[f64]) -> Self {
        Self::of(&values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>())
    }

    pub(crate) fn integers(values: &[i32]) -> Self {
        Self::of(&values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

/// The elements of a float64 value.
pub(crate) fn as_floats(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(8).map(|b| f64::from_ne_bytes(b.try_into().expect("eight bytes"))).collect()
}

/// Values of variables by name.
pub(crate) type State = BTreeMap<String, Vec<u8>>;

/// The settings of a test: the best instructions of this CPU.
pub(crate) fn settings(fuse: bool) -> Settings {
    let mut settings = Settings::from_environment().expect("FLOWRS_ISA names what the CPU has");
    settings.isa = Isa::detect();
    settings.fuse = fuse;
    settings
}

/// What a run leaves behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<(), Error>,
    pub(crate) fetched: Vec<Aligned>,
    pub(crate) state: State,
}

/// Runs a plan once over the given inputs and variables, on one thread.
pub(crate) fn run(plan: Plan, inputs: &[Aligned], state: &State) -> Outcome {
    run_on(&Serial, plan, inputs, state)
}

/// [`run`] on some threads.
pub(crate) fn run_on(
    parallel: &dyn Parallel,
    plan: Plan,
    inputs: &[Aligned],
    state: &State,
) -> Outcome {
    let executable = Executable::new(plan).expect("memory for the plan");
    let plan = executable.plan();
    let variables: Vec<Variable> = plan
        .variables()
        .iter()
        .map(|planned| {
            let variable =
                Variable::new(planned.name.clone(), planned.ty.clone()).expect("memory for it");
            variable.assign(&state[&planned.name]).expect("the state is of the variable's type");
            variable
        })
        .collect();
    let mut fetched: Vec<Aligned> =
        plan.outputs().iter().map(|ty| Aligned::new(ty.bytes())).collect();
    let given: Vec<Input<'_>> = plan
        .inputs()
        .iter()
        .zip(inputs)
        .map(|(ty, input)| Input { dtype: ty.dtype, bytes: input.bytes() })
        .collect();
    let mut outputs: Vec<Output<'_>> = plan
        .outputs()
        .iter()
        .zip(&mut fetched)
        .map(|(ty, output)| Output { dtype: ty.dtype, bytes: output.bytes_mut() })
        .collect();
    let borrowed: Vec<&Variable> = variables.iter().collect();
    let result = executable.run(&given, &borrowed, &mut outputs, parallel);
    let mut state = state.clone();
    for variable in &variables {
        state.insert(variable.name().to_owned(), variable.read().bytes().to_vec());
    }
    Outcome { result, fetched, state }
}

/// Runs a graph node by node, each in a plan of its own: what a plan for the whole must compute.
pub(crate) fn interpret(graph: &Graph, inputs: &[Aligned], state: &State) -> Outcome {
    let mut values: Vec<Option<Aligned>> = vec![None; graph.values().len()];
    let mut after = state.clone();
    for node in graph.nodes() {
        let made = match &node.kind {
            NodeKind::Input(number) => vec![inputs[*number].clone()],
            NodeKind::Variable => vec![Aligned::of(&state[&node.name])],
            NodeKind::Constant(content) => {
                vec![constant(graph.ty(node.outputs[0]), content)]
            }
            NodeKind::Op(_) => {
                let outcome = alone(graph, node, &values, state);
                if outcome.result.is_err() {
                    return Outcome { state: state.clone(), fetched: vec![], ..outcome };
                }
                for &updated in node.updates() {
                    let name = &graph.producer(node.inputs[updated]).name;
                    after.insert(name.clone(), outcome.state[name].clone());
                }
                outcome.fetched
            }
        };
        for (value, bytes) in node.outputs.iter().zip(made) {
            values[value.index()] = Some(bytes);
        }
    }
    let value = |id: &flowrs_engine::ValueId| values[id.index()].clone().expect("made above");
    let fetched = graph.fetches().iter().map(value).collect();
    Outcome { result: Ok(()), fetched, state: after }
}

fn constant(ty: &TensorType, content: &Constant) -> Aligned {
    match content {
        Constant::Bytes(bytes) => Aligned::of(bytes),
        Constant::Fill(Number::Float(number)) if ty.dtype == DType::F64 => {
            Aligned::floats(&vec![*number; ty.elements()])
        }
        other => panic!("the recipes make no such constant: {other:?} as {ty}"),
    }
}

/// Runs one operation with its inputs as inputs of a plan; what it updates are variables there too.
fn alone(graph: &Graph, node: &Node, values: &[Option<Aligned>], state: &State) -> Outcome {
    let NodeKind::Op(op) = &node.kind else { panic!("{} is no operation", node.name) };
    let mut builder = Builder::default();
    let (mut ids, mut inputs) = (vec![], vec![]);
    for (position, value) in node.inputs.iter().enumerate() {
        let ty = graph.ty(*value).clone();
        let id = if node.updates().contains(&position) {
            builder.variable(&graph.producer(*value).name, ty)
        } else {
            inputs.push(values[value.index()].clone().expect("made before it is read"));
            builder.input(&format!("input{position}"), ty)
        };
        ids.push(id.expect("names are unique"));
    }
    let made = builder.add(op.clone(), &ids, &node.name).expect("it fitted in the graph");
    for value in made {
        builder.fetch(value).expect("just made");
    }
    let plan = Plan::new(&builder.finish(), settings(false)).expect("a plan for one node");
    run(plan, &inputs, state)
}
