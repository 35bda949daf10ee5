//! Whether what was answered can have happened one after the other.

use crate::model::{Answer, Model, Operation};

/// The rows of U and of O, each a pair of short names.
pub(crate) type State = (Vec<(String, String)>, Vec<(String, String)>);

/// What an operation answered; `None` if it failed. It may have happened then, or some
/// of it, or nothing.
pub(crate) type Outcome = Option<Answer>;

/// Whether some order of `operations`, applied to `start`, gives these outcomes
/// and this end.
pub(crate) fn explains(
    start: &Model,
    operations: &[Operation],
    outcomes: &[Outcome],
    end: &State,
) -> bool {
    fn search(
        model: &Model,
        left: &mut Vec<usize>,
        operations: &[Operation],
        outcomes: &[Outcome],
        end: &State,
    ) -> bool {
        if left.is_empty() {
            let unihashes = model
                .unihashes
                .iter()
                .map(|(task, row)| (task.clone(), row.0.clone()));
            return unihashes.collect::<Vec<_>>() == end.0 && model.outputs == end.1;
        }
        for position in 0..left.len() {
            let index = left.remove(position);
            for next in after(model, &operations[index], outcomes[index].as_ref()) {
                if search(&next, left, operations, outcomes, end) {
                    return true;
                }
            }
            left.insert(position, index);
        }
        false
    }
    search(
        start,
        &mut (0..operations.len()).collect(),
        operations,
        outcomes,
        end,
    )
}

/// What there may be after an operation with this outcome.
fn after(model: &Model, operation: &Operation, outcome: Option<&Answer>) -> Vec<Model> {
    let mut done = model.clone();
    let answer = done.apply(operation);
    match outcome {
        Some(told) if *told == answer => vec![done],
        Some(_) => Vec::new(),
        None => vec![done, model.clone()],
    }
}
