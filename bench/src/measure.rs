//! What a process has used so far, from /proc.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// A process to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Process(String);

/// Processor time, user and system.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Of all threads.
    pub(crate) cpu: Duration,
    /// Of the busiest kind of thread that was asked for.
    pub(crate) threads: Duration,
    /// How often those were put on a processor: an upper bound of their wake-ups.
    pub(crate) turns: u64,
}

impl Usage {
    /// What was used between `earlier` and this.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            threads: self.threads.saturating_sub(earlier.threads),
            turns: self.turns.saturating_sub(earlier.turns),
        }
    }
}

/// Processor time of everything on this machine so far.
pub(crate) fn machine() -> Result<Duration> {
    let text = read(Path::new("/proc/stat"))?;
    parse_machine(&text).context("an odd /proc/stat")
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub(crate) struct Holdings {
    /// Resident memory, bytes.
    pub(crate) resident: u64,
    /// Open file descriptors.
    pub(crate) descriptors: u64,
    /// Mappings.
    pub(crate) mappings: u64,
}

impl Process {
    /// The one with this id.
    pub(crate) fn of(pid: u32) -> Self {
        Self(pid.to_string())
    }

    /// This one.
    pub(crate) fn own() -> Self {
        Self("self".to_owned())
    }

    /// Its id, or `self`.
    pub(crate) fn id(&self) -> &str {
        &self.0
    }

    /// Processor time so far; `prefix` names the threads that are also counted by themselves.
    ///
    /// Threads are read one by one, for the kernel counts nanoseconds there; a thread that has ended is missing from the sum.
    /// Without those figures the process's own are taken, in hundredths of a second.
    pub(crate) fn usage(&self, prefix: &str) -> Result<Usage> {
        let mut usage = Usage::default();
        for entry in std::fs::read_dir(self.file("task")).with_context(|| format!("reading /proc/{}", self.0))? {
            let path = entry?.path();
            // A thread may end between two reads.
            let Some((cpu, turns)) = read(&path.join("schedstat")).ok().as_deref().and_then(parse_schedstat) else {
                continue;
            };
            usage.cpu += cpu;
            if read(&path.join("comm")).is_ok_and(|name| name.starts_with(prefix)) {
                usage.threads += cpu;
                usage.turns += turns;
            }
        }
        if usage.cpu.is_zero() {
            usage.cpu = parse_stat(&read(&self.file("stat"))?).context("an odd /proc stat line")?;
        }
        Ok(usage)
    }

    /// What it holds now.
    pub(crate) fn holdings(&self) -> Result<Holdings> {
        let status = read(&self.file("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line.context("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
        Ok(Holdings {
            resident: kib * 1_024,
            descriptors: std::fs::read_dir(self.file("fd"))?.count() as u64,
            mappings: read(&self.file("maps"))?.lines().count() as u64,
        })
    }

    /// How many UDP sockets it has.
    pub(crate) fn udp_sockets(&self) -> Result<u64> {
        let mut all = parse_inodes(&read(&self.file("net/udp"))?);
        all.extend(parse_inodes(&read(&self.file("net/udp6")).unwrap_or_default()));
        let mut count = 0;
        for entry in std::fs::read_dir(self.file("fd"))? {
            let Ok(target) = std::fs::read_link(entry?.path()) else {
                continue;
            };
            let inode = target
                .to_str()
                .and_then(|name| name.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            count += u64::from(inode.is_some_and(|inode: u64| all.contains(&inode)));
        }
        Ok(count)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        Path::new("/proc").join(&self.0).join(name)
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Time on a processor in nanoseconds, time waiting, number of turns.
fn parse_schedstat(text: &str) -> Option<(Duration, u64)> {
    let mut fields = text.split_whitespace().map(str::parse);
    let (cpu, _, turns) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
    let _: u64 = turns;
    Some((Duration::from_nanos(cpu), turns))
}

/// User and system time of a whole process in ticks of 10 ms. The command name may hold spaces and brackets.
fn parse_stat(text: &str) -> Option<Duration> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// The inodes in a table of sockets.
fn parse_inodes(text: &str) -> HashSet<u64> {
    let rows = text.lines().skip(1);
    rows.filter_map(|row| row.split_whitespace().nth(9)?.parse().ok())
        .collect()
}

/// User, nice, system, irq, softirq and stolen time of all processors, in ticks of 10 ms; idle and waiting are left out.
fn parse_machine(text: &str) -> Option<Duration> {
    let fields: Vec<u64> = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let busy: Option<Vec<&u64>> = [0, 1, 2, 5, 6, 7].iter().map(|place| fields.get(*place)).collect();
    Some(Duration::from_millis(busy?.into_iter().sum::<u64>() * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_lines_are_read() {
        assert_eq!(
            parse_schedstat("787875 8963635 2\n"),
            Some((Duration::from_nanos(787_875), 2))
        );
        assert_eq!(parse_schedstat("1 2"), None);
        let stat = "12 (a (b) c) S 1 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 7";
        assert_eq!(parse_stat(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_stat("12 (a) S"), None);
        let machine = "cpu  10 20 30 400 50 6 7 8 9 9\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_machine(machine), Some(Duration::from_millis(810)));
        assert_eq!(parse_machine("cpu  1 2"), None);
        let table = "  sl  local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode ref pointer drops\n \
                     86: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 30123 2 00000000abc 0\n";
        assert_eq!(parse_inodes(table), HashSet::from([30_123]));
    }

    #[test]
    fn this_process_holds_and_uses_something() {
        let own = Process::own();
        let holdings = own.holdings().expect("readable");
        assert!(holdings.resident > 0 && holdings.descriptors > 0 && holdings.mappings > 0);
        let name = read(Path::new("/proc/thread-self/comm")).expect("readable");
        let before = own.usage(name.trim()).expect("readable");
        // Some work, so that the kernel has something to count.
        let mut sum = 0_u64;
        for number in 0..3_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(number));
        }
        let used = own.usage(name.trim()).expect("readable").since(before);
        assert!(used.cpu > Duration::ZERO, "{used:?} {sum}");
        assert!(used.cpu >= used.threads);
    }
}
