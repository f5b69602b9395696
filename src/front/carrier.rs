//! Threads that carry media connections, apart from those that serve pages: one for each door. A connection's task and its neighbours' then
//! run one after the other, nobody is woken to help, and where much comes one waking serves several of them.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::limits;

/// See the module. Its thread ends when this is dropped, and its tasks with it.
pub(super) struct Carrier {
    tasks: Handle,
    _stop: oneshot::Sender<()>,
}

impl Carrier {
    /// Starts one.
    ///
    /// # Errors
    /// If the kernel gives no thread or no descriptor.
    pub(super) fn start() -> io::Result<Self> {
        let pace = Mutex::new(Pace::new(Instant::now()));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || {
                let pause = pace.lock().unwrap_or_else(PoisonError::into_inner).next(Instant::now());
                if let Some(pause) = pause {
                    std::thread::sleep(pause);
                }
            })
            .build()?;
        let tasks = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("streams".to_owned());
        thread.spawn(move || {
            // An error means that the sender is gone, which is how it is stopped.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { tasks, _stop: stop })
    }

    /// Does it on the thread, and waits until it is done; `None` if it panicked or the thread has ended.
    pub(super) async fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.tasks.spawn(task).await.ok()
    }
}

/// Whether a thread pauses before it looks what has come: only where it is woken so often that several will have something for it.
#[derive(Debug)]
struct Pace {
    since: Instant,
    /// How often it was woken since then.
    wakings: u32,
    is_paused: bool,
}

impl Pace {
    const fn new(now: Instant) -> Self {
        Self {
            since: now,
            wakings: 0,
            is_paused: false,
        }
    }

    /// It is about to wait. For how long it does so without looking, if at all.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        self.wakings += 1;
        let window = now.saturating_duration_since(self.since);
        if window >= limits::PACE_WINDOW {
            let millis = window.as_millis().max(1) as u64;
            let rate = u64::from(self.wakings) * 1_000 / millis;
            let enough = if self.is_paused {
                limits::PAUSE_UNTIL
            } else {
                limits::PAUSE_FROM
            };
            (self.is_paused, self.wakings, self.since) = (rate >= enough, 0, now);
        }
        self.is_paused.then_some(limits::PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a thread that is woken so often in a second pauses after a while.
    fn pauses(pace: &mut Pace, wakings: u64, now: &mut Instant) -> bool {
        let mut pause = None;
        for _ in 0..wakings {
            *now += Duration::from_micros(1_000_000 / wakings);
            pause = pace.next(*now);
        }
        pause.is_some()
    }

    #[test]
    fn only_where_much_comes_it_waits_until_several_have_something() {
        let mut now = Instant::now();
        let pace = &mut Pace::new(now);
        let mut rate = |wakings| pauses(pace, wakings, &mut now);
        assert!(!rate(1_200), "one visit");
        assert!(rate(limits::PAUSE_FROM + 100), "many");
        assert!(
            rate(limits::PAUSE_UNTIL + 100),
            "as many, now that one waking serves several"
        );
        assert!(!rate(limits::PAUSE_UNTIL - 100), "they have gone");
        assert!(!rate(limits::PAUSE_FROM - 100), "not before there are many again");
    }
}
