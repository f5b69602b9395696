//! What flows, and from where: brings it in line with what is wanted and what has come.

use super::*;

impl Subscription {
    pub(super) fn wants_anything(&self) -> bool {
        self.config.kind == Kind::Audio || self.target != Target::AudioOnly
    }

    /// The best layer within the target that the publisher really sends. A track with a single encoding has no smaller picture to
    /// offer, so any target but audio-only is that one.
    fn wanted_layer(&self, source: &impl LayerSource) -> Option<Layer> {
        let Target::Video(best) = self.target else { return None };
        [Layer::P720, Layer::P480]
            .into_iter()
            .find(|layer| *layer <= best && source.is_active(*layer))
            .or_else(|| source.only_layer().filter(|layer| source.is_active(*layer)))
    }

    /// Brings the flow in line with what is wanted and what has come.
    pub(super) fn steer(&mut self, source: &impl LayerSource, now: Instant) {
        match self.config.kind {
            Kind::Audio => self.steer_audio(source),
            Kind::Video => self.steer_video(source, now),
        }
    }

    fn steer_audio(&mut self, source: &impl LayerSource) {
        if let Flow::Starting(_) = self.flow
            && let Some(newest) = source.ring(None).and_then(Ring::newest)
        {
            self.flow = Flow::Flowing(Flowing {
                layer: None,
                start: newest,
                cursor: newest,
                begun: false,
                frame: 0,
                frame_complete: true,
                run: None,
                next: Next::Same,
                top_temporal: 0,
                through_temporal: 0,
                left_out: None,
            });
        }
    }

    fn steer_video(&mut self, source: &impl LayerSource, now: Instant) {
        let wanted = self.wanted_layer(source);
        match &mut self.flow {
            Flow::Idle | Flow::Incompatible => {}
            Flow::Starting(awaited) => {
                let Some(layer) = wanted else { return };
                let awaited = match awaited {
                    Some(awaited) if awaited.layer == layer => *awaited,
                    _ => {
                        self.requests.reset();
                        *awaited.insert(Awaited::or_fresh(layer, source, now))
                    }
                };
                if let Some((ring, key)) = awaited.find(source) {
                    self.start_at(source, ring, key, layer);
                }
            }
            Flow::Flowing(flowing) => match flowing.next {
                Next::Stop { since } => {
                    let expired = now.saturating_duration_since(since) >= limits::FINISH_FRAME;
                    let over = match source.ring(flowing.layer).map(|ring| ring.read(flowing.cursor)) {
                        // What the pace holds back for longer than that is not worth waiting for: nobody sees half a frame.
                        Some(Read::Packet(next, _)) => expired || next.timestamp > flowing.frame,
                        Some(Read::Empty) => expired,
                        Some(Read::Overtaken(_)) | None => true,
                    };
                    if flowing.frame_complete || over {
                        self.flow = Flow::Idle;
                    }
                }
                Next::Same | Next::Refresh | Next::Switch(_) => {
                    let Some(layer) = wanted.filter(|layer| Some(*layer) != flowing.layer) else {
                        // Also if nothing is active: the layer that flowed goes on when its publisher does.
                        if let Next::Switch(_) = flowing.next {
                            flowing.next = Next::Same;
                            self.requests.reset();
                        }
                        self.held = false;
                        return;
                    };
                    let awaited = match flowing.next {
                        Next::Switch(awaited) if awaited.layer == layer => awaited,
                        _ => {
                            let awaited = Awaited::new(layer, source);
                            flowing.next = Next::Switch(awaited);
                            self.requests.reset();
                            awaited
                        }
                    };
                    if let Some((ring, key)) = awaited.find(source) {
                        // What came before the key frame goes first, as if every packet were forwarded on arrival, and so does
                        // the rest of a frame. A frame that came together with the key frame shows the same moment: no need of it.
                        let held = self.held;
                        let first = |next: &Stored| {
                            (next.arrival < key.arrival && !held)
                                || (!flowing.frame_complete && next.timestamp <= flowing.frame)
                        };
                        let earlier = source.ring(flowing.layer).is_some_and(
                            |ring| matches!(ring.read(flowing.cursor), Read::Packet(next, _) if first(next)),
                        );
                        if !earlier {
                            self.start_at(source, ring, key, layer);
                        }
                    }
                }
            },
        }
    }

    /// Lets video flow from a key frame on.
    fn start_at(&mut self, source: &impl LayerSource, ring: &Ring, key: &KeyFrame, layer: Layer) {
        let Read::Packet(first, _) = ring.read(key.index) else {
            return;
        };
        if self.config.payload_types.outgoing(first.packing).is_none() {
            self.flow = Flow::Incompatible;
            return;
        }
        let alignment = match self.forwarder.layer() {
            None => Alignment::Arrival,
            Some(old) if old == Some(layer) => Alignment::SameClock,
            Some(old) => match (source.sr_mapping(old), source.sr_mapping(Some(layer))) {
                (Some(old), Some(new)) => Alignment::Reports { old, new },
                _ => Alignment::Arrival,
            },
        };
        self.forwarder.begin(first, Some(layer), alignment);
        self.decodable_from = self.forwarder.next_sequence();
        self.requests.reset();
        self.flow = Flow::Flowing(Flowing {
            layer: Some(layer),
            start: key.index,
            cursor: ring.start_of(key),
            begun: true,
            frame: first.timestamp,
            frame_complete: false,
            run: None,
            next: Next::Same,
            top_temporal: 0,
            through_temporal: u8::MAX,
            left_out: None,
        });
        self.held = false;
    }

    /// The flow was torn: audio goes on at the next packet, video waits for a key frame.
    pub(super) fn interrupt(&mut self, resume_at: RingIndex) {
        self.counters.interrupted += 1;
        match (&mut self.flow, self.config.kind) {
            (Flow::Flowing(flowing), Kind::Audio) => {
                flowing.cursor = resume_at;
                flowing.begun = false;
            }
            (Flow::Flowing(flowing), Kind::Video) => {
                self.flow = match flowing.next {
                    Next::Stop { .. } => Flow::Idle,
                    // Never at the same key frame again: what tore the flow is still behind it.
                    Next::Same | Next::Refresh | Next::Switch(_) => {
                        Flow::Starting(flowing.layer.map(|layer| Awaited {
                            layer,
                            not_before: Some(resume_at.max(flowing.start.next())),
                        }))
                    }
                };
            }
            (Flow::Idle | Flow::Starting(_) | Flow::Incompatible, _) => {}
        }
    }
}
