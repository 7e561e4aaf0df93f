//! Properties that hold for every graph: of the passes, of the order of the steps, of the memory,
//! and of what a run computes.

mod interpreter;
mod plan_text;
mod recipe;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use flowrs_engine::graph::{Graph, Node, NodeKind};
use flowrs_engine::settings::{Settings, SideBySide};
use flowrs_engine::threads::Pool;
use flowrs_engine::types::DType;
use flowrs_engine::{Error, Plan, ValueId, passes};
use flowrs_kernels::{Parallel, Serial};
use interpreter::{Aligned, Outcome, State, as_floats, interpret, run, run_on, settings};
use plan_text::{Slot, Step, steps};
use proptest::prelude::*;
use recipe::{SIDE, recipes};

/// Reproducible numbers around zero.
fn numbers(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn inputs(seed: u64, labels: &[i32; SIDE]) -> Vec<Aligned> {
    vec![Aligned::floats(&numbers(seed, SIDE * SIDE)), Aligned::integers(labels)]
}

/// First values of all variables of a graph; none below zero, since some stand for squares.
fn first_state(graph: &Graph, seed: u64) -> State {
    let variables = graph.nodes().iter().filter(|node| matches!(node.kind, NodeKind::Variable));
    variables
        .enumerate()
        .map(|(number, node)| {
            let ty = graph.ty(node.outputs[0]);
            let bytes = match ty.dtype {
                DType::F64 => {
                    let values = numbers(seed + 1 + number as u64, ty.elements());
                    let is_square = node.name.ends_with("-v");
                    let sign = |value: f64| if is_square { value.abs() } else { value };
                    values.into_iter().flat_map(|v| sign(v).to_ne_bytes()).collect()
                }
                _ => vec![0; ty.bytes()],
            };
            (node.name.clone(), bytes)
        })
        .collect()
}

/// The plan in both ways: steps one after the other, and side by side wherever that can be.
fn plans(graph: &Graph, fuse: bool) -> [Plan; 2] {
    [SideBySide::Never, SideBySide::Always].map(|side_by_side| {
        let settings = Settings { side_by_side, ..settings(fuse) };
        Plan::new(graph, settings).expect("every recipe can be planned")
    })
}

fn plan(graph: &Graph, fuse: bool) -> Plan {
    Plan::new(graph, settings(fuse)).expect("every recipe can be planned")
}

fn optimised(graph: &Graph, fuse: bool) -> Graph {
    passes::run(graph, settings(fuse)).expect("passes do not fail").0
}

fn updated_names(graph: &Graph) -> BTreeSet<String> {
    let names = |node: &Node| -> Vec<String> {
        node.updates().iter().map(|i| graph.producer(node.inputs[*i]).name.clone()).collect()
    };
    graph.nodes().iter().flat_map(names).collect()
}

/// The value whose memory a value has.
fn root_of(graph: &Graph, mut value: ValueId) -> ValueId {
    loop {
        let node = graph.producer(value);
        match node.op() {
            Some(op) if op.is_view() => value = node.inputs[0],
            _ => return value,
        }
    }
}

fn node_of<'a>(graph: &'a Graph, step: &Step) -> &'a Node {
    graph.nodes().iter().find(|node| node.name == step.name).expect("steps are named by nodes")
}

fn overlap(a: &Slot, b: &Slot) -> bool {
    a.place == b.place && a.bytes.start < b.bytes.end && b.bytes.start < a.bytes.end
}

/// Follows the memory through the steps: whatever is read must be what its producer wrote.
fn check_memory(graph: &Graph, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut owners: Vec<(Slot, ValueId)> = vec![];
    let mut reads = 0;
    for step in steps.iter().filter(|step| !step.is_fetch) {
        let node = node_of(graph, step);
        for (value, slot) in node.inputs.iter().zip(&step.inputs) {
            let root = root_of(graph, *value);
            if graph.producer(root).op().is_none() {
                prop_assert!(slot.place != "arena", "{} is no intermediate value", step.name);
                continue;
            }
            reads += 1;
            prop_assert!(
                owners.contains(&(slot.clone(), root)),
                "{} reads {slot:?}, which is not {root} any more",
                step.name
            );
        }
        for (position, output) in step.outputs.iter().enumerate() {
            for (other, slot) in step.outputs.iter().enumerate() {
                prop_assert!(other == position || !overlap(output, slot), "{}", step.name);
            }
            for (number, input) in step.inputs.iter().enumerate() {
                let in_place = position == 0
                    && input == output
                    && node.op().is_some_and(|op| op.in_place().contains(&number));
                prop_assert!(
                    in_place || !overlap(output, input),
                    "{} writes over {input:?} while it reads it",
                    step.name
                );
            }
            owners.retain(|(slot, _)| !overlap(slot, output));
            owners.push((output.clone(), node.outputs[position]));
        }
    }
    prop_assert!(reads > 0 || steps.len() < 12, "nothing was checked");
    Ok(())
}

/// Checks that variables are read before they change, and that what can fail comes before that.
fn check_order(graph: &Graph, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut changed: BTreeSet<&str> = BTreeSet::new();
    for step in steps {
        let node = node_of(graph, step);
        let updates = if step.is_fetch { &[] } else { node.updates() };
        for (position, slot) in step.inputs.iter().enumerate() {
            if !updates.contains(&position) {
                let place = slot.place.as_str();
                prop_assert!(!changed.contains(place), "{} reads a changed {place}", step.name);
            }
        }
        let can_fail = !step.is_fetch && node.op().is_some_and(|op| op.can_fail());
        prop_assert!(!can_fail || changed.is_empty(), "{} fails too late", step.name);
        changed.extend(updates.iter().map(|position| step.inputs[*position].place.as_str()));
    }
    Ok(())
}

/// Compares a run with what the nodes compute one by one, to the bit or nearly.
fn check_outcome(
    graph: &Graph,
    found: &Outcome,
    wanted: &Outcome,
    exact: bool,
) -> Result<(), TestCaseError> {
    prop_assert!(found.result.is_ok(), "{:?}", found.result);
    let fetched = found.fetched.iter().map(Aligned::bytes);
    let values = graph.fetches().iter().map(|id| graph.ty(*id).dtype);
    let states = wanted.state.keys().map(|name| {
        let is_step = name == "step";
        let dtype = if is_step { DType::I64 } else { DType::F64 };
        (dtype, found.state[name].as_slice(), wanted.state[name].as_slice())
    });
    let fetches = values
        .zip(fetched)
        .zip(&wanted.fetched)
        .map(|((dtype, found), wanted)| (dtype, found, wanted.bytes()));
    for (dtype, found, wanted) in fetches.chain(states) {
        if exact || dtype != DType::F64 {
            prop_assert_eq!(found, wanted);
            continue;
        }
        let (found, wanted) = (as_floats(found), as_floats(wanted));
        let scale = wanted.iter().fold(1.0f64, |scale, value| scale.max(value.abs()));
        for (found, wanted) in found.iter().zip(&wanted) {
            prop_assert!((found - wanted).abs() <= 1e-9 * scale, "{found} instead of {wanted}");
        }
    }
    Ok(())
}

/// True where products have grown so much that rounding decides what a relu lets pass.
fn is_wild(outcome: &Outcome) -> bool {
    let fetched = outcome.fetched.iter().map(Aligned::bytes);
    let states = outcome.state.iter().filter(|(name, _)| *name != "step").map(|(_, v)| &v[..]);
    let wild = |bytes: &[u8]| {
        as_floats(bytes).iter().any(|value| !value.is_finite() || value.abs() >= 1e6)
    };
    fetched.chain(states).any(|bytes| bytes.len() >= 8 && wild(bytes))
}

const LABELS: [i32; SIDE] = [0, 3, 1, 2];

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn passes_keep_graphs_valid(recipe in recipes()) {
        let graph = recipe.graph();
        prop_assert!(graph.verify().is_ok());
        for fuse in [false, true] {
            let result = optimised(&graph, fuse);
            prop_assert!(result.verify().is_ok(), "{:?}", result.verify());
            let types = |graph: &Graph| -> Vec<_> {
                graph.fetches().iter().map(|id| graph.ty(*id).clone()).collect()
            };
            prop_assert_eq!(types(&result), types(&graph));
            prop_assert_eq!(updated_names(&result), updated_names(&graph));
            let names: BTreeSet<&str> = result.nodes().iter().map(|n| n.name.as_str()).collect();
            prop_assert_eq!(names.len(), result.nodes().len());
            let is_turn = |node: &&Node| node.name.contains("/channels_");
            let turns = result.nodes().iter().filter(is_turn).count();
            prop_assert!(result.nodes().len() - turns <= graph.nodes().len());
        }
    }

    #[test]
    fn inputs_stay_even_where_nobody_reads_them(recipe in recipes()) {
        let graph = recipe.graph();
        for fuse in [false, true] {
            let plan = plan(&graph, fuse);
            let types: Vec<String> = plan.inputs().iter().map(ToString::to_string).collect();
            prop_assert_eq!(types, ["float64[4, 4]", "int32[4]"]);
        }
    }

    #[test]
    fn nothing_dead_is_left(recipe in recipes()) {
        let result = optimised(&recipe.graph(), true);
        let uses = result.use_counts();
        for node in result.nodes() {
            let is_input = matches!(node.kind, NodeKind::Input(_));
            let is_used = node.outputs.iter().any(|value| uses[value.index()] > 0);
            prop_assert!(is_input || is_used || !node.updates().is_empty(), "{}", node.name);
        }
    }

    #[test]
    fn steps_find_in_memory_what_was_written_there(recipe in recipes()) {
        let graph = recipe.graph();
        for fuse in [false, true] {
            for plan in plans(&graph, fuse) {
                check_memory(&optimised(&graph, fuse), &steps(&plan.to_string()))?;
            }
        }
    }

    #[test]
    fn variables_change_after_all_readers_and_all_that_can_fail(recipe in recipes()) {
        let graph = recipe.graph();
        for fuse in [false, true] {
            for plan in plans(&graph, fuse) {
                check_order(&optimised(&graph, fuse), &steps(&plan.to_string()))?;
            }
        }
    }

    #[test]
    fn a_plan_computes_what_its_nodes_compute(recipe in recipes(), seed in 0u64..1000) {
        let graph = recipe.graph();
        let (inputs, state) = (inputs(seed, &LABELS), first_state(&graph, seed));
        let wanted = interpret(&graph, &inputs, &state);
        prop_assert!(wanted.result.is_ok());
        check_outcome(&graph, &run(plan(&graph, false), &inputs, &state), &wanted, true)?;
        if !is_wild(&wanted) {
            check_outcome(&graph, &run(plan(&graph, true), &inputs, &state), &wanted, false)?;
        }
    }

    #[test]
    fn steps_side_by_side_compute_what_they_compute_in_turn(
        recipe in recipes(),
        seed in 0u64..1000,
    ) {
        let graph = recipe.graph();
        let (inputs, state) = (inputs(seed, &LABELS), first_state(&graph, seed));
        for fuse in [false, true] {
            for parallel in [&*POOL as &dyn Parallel, &Serial, &Backwards] {
                let [in_turn, side_by_side] = plans(&graph, fuse);
                let wanted = run(in_turn, &inputs, &state);
                let found = run_on(parallel, side_by_side, &inputs, &state);
                check_outcome(&graph, &found, &wanted, true)?;
            }
        }
    }

    #[test]
    fn a_run_that_fails_changes_nothing(recipe in recipes(), wrong in 0usize..SIDE) {
        let graph = recipe.graph();
        let mut labels = LABELS;
        labels[wrong] = SIDE as i32;
        let (inputs, state) = (inputs(0, &labels), first_state(&graph, 0));
        for fuse in [false, true] {
            let checks_labels = optimised(&graph, fuse)
                .nodes()
                .iter()
                .any(|node| node.op().is_some_and(|op| op.name() == "sparse_softmax_cross_entropy"));
            for plan in plans(&graph, fuse) {
                let outcome = run_on(&*POOL, plan, &inputs, &state);
                match outcome.result {
                    Err(Error::Range(message)) => {
                        prop_assert!(checks_labels);
                        prop_assert!(message.contains("label 4"), "{message}");
                        prop_assert_eq!(outcome.state, state.clone());
                    }
                    other => prop_assert!(other.is_ok() && !checks_labels, "{other:?}"),
                }
            }
        }
    }
}

/// One thread that takes the last task first: an order of steps in which no plan's text has them.
struct Backwards;

impl Parallel for Backwards {
    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..count).rev().for_each(task);
    }
}

/// The threads of runs that share their steps out.
static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(3));

#[test]
fn recipes_have_steps_that_run_side_by_side() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let settings = Settings { side_by_side: SideBySide::Always, ..settings(true) };
    let has_lanes = |_: &usize| {
        let recipe = recipes().new_tree(&mut runner).expect("recipes need no luck").current();
        let plan = Plan::new(&recipe.graph(), settings).expect("every recipe can be planned");
        plan.to_string().contains("\nside by side: ")
    };
    assert!((0..200).filter(has_lanes).count() > 100);
}

/// The properties above would hold of graphs in which nothing is fused, too.
#[test]
fn recipes_reach_every_fusion() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..1500 {
        let recipe = recipes().new_tree(&mut runner).expect("recipes need no luck").current();
        for node in optimised(&recipe.graph(), true).nodes() {
            if let Some(op) = node.op() {
                for part in op.attributes().split(['+', ',', ' ']) {
                    *seen.entry(format!("{} {part}", op.name())).or_default() += 1;
                }
            }
        }
    }
    for kind in [
        "matmul bias",
        "matmul relu",
        "matmul relu_gradient",
        "matmul_sgd_update scale=0.5",
        "sgd_update scale=0.125",
        "momentum_update scale=0.5",
        "adam_update scale=0.5",
        "elementwise instructions=2",
        "convolution bias",
        "convolution relu",
        "convolution last",
        "convolution max_pool",
        "convolution_input_gradient max_pool",
        "convolution_weight_gradient max_pool",
        "convolution_input_gradient last",
        "convolution_weight_gradient last",
        "max_pool last",
        "max_pool_gradient last",
        "avg_pool_gradient last",
    ] {
        assert!(seen.get(kind).is_some_and(|count| *count > 3), "{kind} in {seen:#?}");
    }
}
