/** The quality record as `GET /ops/visits/{visit}/quality` tells it; docs/quality.md says what each number means. */

export interface JoinTimes {
  page_ms: number | null;
  offer_ms: number | null;
  ice_ms: number | null;
  dtls_ms: number | null;
  media_ms: number | null;
  admitted_ms: number | null;
  first_frame_ms: number | null;
}

export interface Leg {
  packets: number;
  loss: number;
  audio_loss: number | null;
  jitter_ms: number | null;
  rtt_ms: number | null;
  queue_ms: number | null;
  mos: number | null;
  mos_low: number | null;
}

export interface Move {
  at: number;
  direction: 'up' | 'down';
  from: string;
  to: string;
  reason: string;
  estimate_kbps: number | null;
  delivered_kbps: number;
  queue_ms: number;
  loss: number;
  rtt_ms: number | null;
}

export interface Sample {
  at: number;
  span: number;
  rung?: string;
  estimate_kbps?: number;
  queue_ms: number;
  rtt_ms?: number;
  up_loss: number;
  down_loss: number;
  up_jitter_ms: number;
  down_jitter_ms: number;
  up_mos?: number;
  down_mos?: number;
  frozen: number;
  culprit?: string;
}

export interface QualityRecord {
  participant: string;
  role: 'patient' | 'guest' | 'clinician';
  via: 'socket' | 'whip' | 'whep';
  seconds: number;
  ended: boolean;
  join: JoinTimes;
  paths: Array<{ at: number; path: string }>;
  rungs: Record<string, number>;
  moves: Move[];
  moves_left_out: number;
  picture: { play_seconds: number; freezes: number; freeze_seconds: number; frames: number; dropped: number };
  up: Leg;
  down: Leg;
  heard_mos: number | null;
  culprit: string;
  trouble: Array<{ culprit: string; seconds: number }>;
  samples: Sample[];
  started_at: string;
  updated_at: string;
}

export interface VisitLine {
  visit: string;
  started_at: string;
  updated_at: string;
  participants: number;
  culprit: string | null;
}
