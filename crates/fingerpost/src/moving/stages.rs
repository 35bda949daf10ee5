//! A progress bar for each stage.

use std::ops::ControlFlow;

use fingerpost_hashequiv::moving::{Progress, Stage};

use crate::progress;

/// Shows the stage that runs. A signal ends the program without asking: what
/// was done is kept in the files.
#[derive(Default)]
pub(super) struct Stages {
    running: Option<(progress::Progress, u64)>,
}

impl Stages {
    /// Ends the last stage.
    pub(super) fn finish(&mut self) {
        if let Some((bar, _)) = self.running.take() {
            bar.finish();
        }
    }
}

impl Progress for Stages {
    fn begin(&mut self, stage: Stage, total: u64) {
        self.finish();
        let bar = progress::Progress::new(stage.to_string(), stage.unit(), Some(total));
        self.running = Some((bar, total));
    }

    fn advance(&mut self, done: u64) -> ControlFlow<()> {
        if let Some((bar, total)) = &self.running {
            bar.set(done, *total);
        }
        ControlFlow::Continue(())
    }

    fn note(&mut self, line: &str) {
        match &self.running {
            Some((bar, _)) => bar.note(line),
            None => eprintln!("{line}"),
        }
    }
}
