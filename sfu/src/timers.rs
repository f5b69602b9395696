//! One deadline for each key, earliest first: a binary heap that knows the place of each key in it. Moving a deadline moves its entry, so
//! that none is left behind: the heap is never larger than the number of keys.

use std::time::Instant;

/// Keys are small numbers, as a slab gives them.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Vec<(Instant, usize)>,
    /// By key: its place in the heap.
    places: Vec<Option<u32>>,
}

impl Timers {
    /// The earliest deadline and its key.
    pub(crate) fn first(&self) -> Option<(Instant, usize)> {
        self.heap.first().copied()
    }

    /// Takes out the earliest deadline if it is not after `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        let (_, key) = self.first().filter(|(at, _)| *at <= now)?;
        self.remove(key);
        Some(key)
    }

    /// Sets or moves a key's deadline.
    pub(crate) fn set(&mut self, key: usize, at: Instant) {
        let place = match self.place(key) {
            Some(place) if self.heap[place].0 == at => return,
            Some(place) => {
                self.heap[place].0 = at;
                place
            }
            None => {
                if self.places.len() <= key {
                    self.places.resize(key + 1, None);
                }
                self.heap.push((at, key));
                self.heap.len() - 1
            }
        };
        self.settle(place);
    }

    /// Forgets a key's deadline, if it has one.
    pub(crate) fn remove(&mut self, key: usize) {
        let Some(place) = self.place(key) else { return };
        self.places[key] = None;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.settle(place);
        }
    }

    /// How many keys have a deadline.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    fn place(&self, key: usize) -> Option<usize> {
        self.places.get(key).copied().flatten().map(|place| place as usize)
    }

    /// Moves the entry at `place` to where it belongs.
    fn settle(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent] <= self.heap[place] {
                break;
            }
            self.swap(place, parent);
            place = parent;
        }
        loop {
            let children = [2 * place + 1, 2 * place + 2];
            let smaller = children.into_iter().filter(|child| *child < self.heap.len());
            let Some(child) = smaller.min_by_key(|child| self.heap[*child]) else {
                break;
            };
            if self.heap[place] <= self.heap[child] {
                break;
            }
            self.swap(place, child);
            place = child;
        }
        self.places[self.heap[place].1] = Some(place as u32);
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        for place in [one, other] {
            self.places[self.heap[place].1] = Some(place as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::testing;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Set(usize, u64),
        Remove(usize),
        PopUntil(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..20_usize, 0..100_u64).prop_map(|(key, at)| Step::Set(key, at)),
            1 => (0..20_usize).prop_map(Step::Remove),
            1 => (0..100_u64).prop_map(Step::PopUntil),
        ]
    }

    proptest! {
        /// It does what a map from key to deadline does.
        #[test]
        fn like_a_map(steps in prop::collection::vec(step(), 1..200)) {
            let start = testing::start();
            let at = |millis| start + Duration::from_millis(millis);
            let (mut timers, mut model) = (Timers::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Set(key, millis) => {
                        timers.set(key, at(millis));
                        model.insert(key, at(millis));
                    }
                    Step::Remove(key) => {
                        timers.remove(key);
                        model.remove(&key);
                    }
                    Step::PopUntil(millis) => {
                        let mut last = start;
                        while let Some(key) = timers.pop_due(at(millis)) {
                            let due = model.remove(&key).expect("it was set");
                            prop_assert!(due >= last && due <= at(millis), "earliest first");
                            last = due;
                        }
                        prop_assert!(model.values().all(|due| *due > at(millis)), "all that are due");
                    }
                }
                prop_assert_eq!(timers.len(), model.len());
                prop_assert_eq!(timers.first().map(|(at, _)| at), model.values().min().copied());
            }
        }
    }
}
