//! State per SSRC: a small table, searched in place.

/// A bounded table by SSRC. A transport has a handful of streams, so a scan over packed numbers beats hashing, and packets
/// come in runs of one SSRC, so the last hit is tried first. Nothing is ever evicted: what it holds keeps nonces unique.
pub(super) struct Streams<S> {
    ssrcs: Vec<u32>,
    states: Vec<S>,
    recent: usize,
}

/// The table holds [`crate::limits::MAX_SSRCS`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl<S> Streams<S> {
    pub(super) fn new() -> Self {
        Self {
            ssrcs: Vec::new(),
            states: Vec::new(),
            recent: 0,
        }
    }

    /// The state of a known SSRC.
    #[inline]
    pub(super) fn get_mut(&mut self, ssrc: u32) -> Option<&mut S> {
        if self.ssrcs.get(self.recent) != Some(&ssrc) {
            self.recent = self.ssrcs.iter().position(|known| *known == ssrc)?;
        }
        self.states.get_mut(self.recent)
    }

    /// See [`crate::member::Member::touch`].
    #[inline]
    pub(super) fn touch(&self) {
        std::hint::black_box(self.ssrcs.first());
    }

    /// Adds a stream that [`Self::get_mut`] did not find.
    pub(super) fn insert(&mut self, ssrc: u32, state: S) -> Result<(), Full> {
        if self.ssrcs.len() >= crate::limits::MAX_SSRCS {
            return Err(Full);
        }
        self.recent = self.ssrcs.len();
        self.ssrcs.push(ssrc);
        self.states.push(state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_it_holds_and_is_bounded() {
        let mut streams = Streams::new();
        let max = crate::limits::MAX_SSRCS as u32;
        for ssrc in 0..max {
            assert_eq!(streams.get_mut(ssrc), None);
            assert_eq!(streams.insert(ssrc, ssrc * 2), Ok(()));
        }
        assert_eq!(streams.insert(max, 0), Err(Full));
        for ssrc in (0..max).rev() {
            assert_eq!(streams.get_mut(ssrc).copied(), Some(ssrc * 2));
            assert_eq!(streams.get_mut(ssrc).copied(), Some(ssrc * 2));
        }
        assert_eq!(streams.get_mut(max), None);
    }
}
