//! Which task each row of the relation O belongs to.
//!
//! Rows name their task by (method, taskhash), tables by number, and neither
//! side fits into memory. So both are dealt out to partitions by a hash of the
//! key, each partition is matched in memory, and what comes out is merged into
//! the order of the rows again (a "grace hash join").

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashMap};
use std::hash::BuildHasher as _;
use std::io;
use std::path::Path;

use fingerpost_hashequiv_proto::types::Taskhash;
use foldhash::fast::RandomState;
use sha2::{Digest as _, Sha256};

use crate::cache::MethodId;
use crate::moving::scratch::{Records, Scratch};

/// A key and a number: of a row, or of a task.
const KEYED: usize = KEY + 8;
/// (method, taskhash) in a fixed size: number of the method, form of the
/// taskhash, the taskhash or its digest.
const KEY: usize = METHOD + 1 + 32;
const METHOD: usize = 4;
/// Place of a row, and number of its task.
const MATCHED: usize = 16;

/// Tasks of a partition, which are in memory together.
const PARTITION_TASKS: u64 = 100_000;
const PARTITIONS_MAX: u64 = 1024;

/// The keys of one side, dealt out to partitions, each with a number.
pub(super) struct Keys {
    hasher: RandomState,
    scratch: Scratch<KEYED>,
}

impl Keys {
    /// Makes the first side in a scratch file in `directory`; `tasks` is about
    /// the number of keys.
    pub(super) fn new(directory: &Path, tasks: u64) -> io::Result<Self> {
        let partitions = (tasks / PARTITION_TASKS + 1).min(PARTITIONS_MAX) as usize;
        Ok(Self {
            hasher: RandomState::default(),
            scratch: Scratch::new(directory, partitions)?,
        })
    }

    /// Makes the other side, with the same partitions.
    pub(super) fn other_side(&self, directory: &Path) -> io::Result<Self> {
        Ok(Self {
            hasher: self.hasher.clone(),
            scratch: Scratch::new(directory, self.scratch.partitions())?,
        })
    }

    /// Adds a key, by ascending `number`.
    pub(super) fn add(
        &mut self,
        method: MethodId,
        taskhash: &Taskhash,
        number: u64,
    ) -> io::Result<()> {
        let record = keyed(method, taskhash, number);
        let hash = self.hasher.hash_one(&record[..KEY]);
        // Maps the hash's range onto the partitions' without a division.
        let partition = (u128::from(hash) * self.scratch.partitions() as u128) >> 64;
        self.scratch.push(partition as usize, &record)
    }
}

/// Finds the task of each row. `last_task` is the highest number of a task;
/// rows whose key no task has get tasks behind it.
pub(super) fn match_keys(
    directory: &Path,
    tasks: &Keys,
    rows: &Keys,
    last_task: i64,
) -> io::Result<Matched> {
    let partitions = tasks.scratch.partitions();
    let mut matched = Scratch::new(directory, partitions)?;
    for partition in 0..partitions {
        let mut known: HashMap<[u8; KEY], i64, _> = HashMap::with_hasher(tasks.hasher.clone());
        for record in tasks.scratch.records(partition) {
            let (key, id) = split(&record?);
            // Of a key that a damaged source has twice, the first is kept.
            known.entry(key).or_insert(id as i64);
        }
        for record in rows.scratch.records(partition) {
            let (key, sequence) = split(&record?);
            // A key without a task is numbered by its first row, so the numbers
            // ascend when the rows are taken.
            let task = *known.entry(key).or_insert(last_task + 1 + sequence as i64);
            let mut pair = [0; MATCHED];
            pair[..8].copy_from_slice(&sequence.to_le_bytes());
            pair[8..].copy_from_slice(&task.to_le_bytes());
            matched.push(partition, &pair)?;
        }
    }
    Ok(Matched {
        scratch: matched,
        last_task,
    })
}

fn keyed(method: MethodId, taskhash: &Taskhash, number: u64) -> [u8; KEYED] {
    const HASH: usize = METHOD + 1;
    let mut record = [0; KEYED];
    record[..METHOD].copy_from_slice(&method.0.to_le_bytes());
    match taskhash.as_bytes() {
        Some(bytes) => record[HASH..KEY].copy_from_slice(bytes),
        None => {
            record[METHOD] = 1;
            record[HASH..KEY].copy_from_slice(&Sha256::digest(taskhash.to_text()));
        }
    }
    record[KEY..].copy_from_slice(&number.to_le_bytes());
    record
}

fn split(record: &[u8; KEYED]) -> ([u8; KEY], u64) {
    const PROOF: &str = "a record is a key and eight bytes";
    let key = record.first_chunk().expect(PROOF);
    let number = record.last_chunk().expect(PROOF);
    (*key, u64::from_le_bytes(*number))
}

/// The task of each row.
pub(super) struct Matched {
    scratch: Scratch<MATCHED>,
    last_task: i64,
}

/// The task that a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskOf {
    /// Number of the task.
    pub(super) task: i64,
    /// Whether the task does not exist before this row.
    pub(super) is_new: bool,
}

impl Matched {
    /// The tasks by ascending place of the row.
    pub(super) fn stream(&self) -> io::Result<TaskStream<'_>> {
        let mut stream = TaskStream {
            parts: Vec::new(),
            heads: BinaryHeap::new(),
            last_task: self.last_task,
        };
        for partition in 0..self.scratch.partitions() {
            let mut records = self.scratch.records(partition);
            if let Some(head) = next_pair(&mut records)? {
                stream
                    .heads
                    .push(Reverse((head.0, head.1, stream.parts.len())));
                stream.parts.push(records);
            }
        }
        Ok(stream)
    }
}

/// See [`Matched::stream`].
pub(super) struct TaskStream<'a> {
    parts: Vec<Records<'a, MATCHED>>,
    heads: BinaryHeap<Reverse<(u64, i64, usize)>>,
    last_task: i64,
}

impl TaskStream<'_> {
    /// The next row's task; `None` after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<TaskOf>> {
        let Some(mut head) = self.heads.peek_mut() else {
            return Ok(None);
        };
        let Reverse((sequence, task, part)) = *head;
        match next_pair(&mut self.parts[part])? {
            Some((next, next_task)) => *head = Reverse((next, next_task, part)),
            None => {
                PeekMut::pop(head);
            }
        }
        Ok(Some(TaskOf {
            task,
            is_new: task == self.last_task + 1 + sequence as i64,
        }))
    }
}

fn next_pair(records: &mut Records<'_, MATCHED>) -> io::Result<Option<(u64, i64)>> {
    const PROOF: &str = "a record is two numbers";
    Ok(records.next().transpose()?.map(|pair| {
        let sequence = pair.first_chunk().expect(PROOF);
        let task = pair.last_chunk().expect(PROOF);
        (u64::from_le_bytes(*sequence), i64::from_le_bytes(*task))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> Taskhash {
        if number.is_multiple_of(7) {
            return Taskhash::parse(&format!("odd {number}"));
        }
        Taskhash::from_bytes(Sha256::digest(number.to_le_bytes()).into())
    }

    #[test]
    fn every_row_finds_its_task_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let mut tasks = Keys::new(directory.path(), 500_000).unwrap();
        let mut rows = tasks.other_side(directory.path()).unwrap();
        for task in 1..=1000 {
            tasks.add(MethodId(1), &hash(task), task).unwrap();
        }
        tasks.add(MethodId(2), &hash(1), 1001).unwrap();
        tasks.add(MethodId(1), &hash(5), 1002).unwrap();
        let mut expected = Vec::new();
        for sequence in 0..3000 {
            let number = sequence * 7919 % 1500 + 1;
            rows.add(MethodId(1), &hash(number), sequence).unwrap();
            let known = number <= 1000;
            expected.push((sequence, known.then_some(number as i64)));
        }
        rows.add(MethodId(2), &hash(1), 3000).unwrap();
        expected.push((3000, Some(1001)));

        let matched = match_keys(directory.path(), &tasks, &rows, 1002).unwrap();
        let mut stream = matched.stream().unwrap();
        let mut added = HashMap::new();
        for (sequence, known) in expected {
            let found = stream.next().unwrap().unwrap();
            match known {
                Some(task) => assert_eq!((found.task, found.is_new), (task, false)),
                None => {
                    let number = sequence * 7919 % 1500 + 1;
                    assert_eq!(found.is_new, !added.contains_key(&number));
                    assert_eq!(*added.entry(number).or_insert(found.task), found.task);
                    assert!(found.task > 1002);
                }
            }
        }
        assert_eq!(stream.next().unwrap(), None);
    }
}
