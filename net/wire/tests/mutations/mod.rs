//! The checks of `checks/` on mutations of the captured frames: a short, seeded form of what `tools/fuzz` does for
//! as long as it is told to. A failure names the target and the seed of its round, which replays it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{captured, checks};

const ROUNDS: u64 = 300_000;
/// Longer inputs cost time and find nothing more.
const INPUT_BYTES_MAX: usize = 4096;

#[test]
fn no_mutation_of_a_captured_frame_breaks_a_check() {
    let seeds: Vec<_> = captured::all().iter().flat_map(|captured| checks::seeds(&captured.bytes)).collect();
    let by_target: Vec<_> = checks::TARGETS
        .iter()
        .map(|(target, check)| {
            let inputs: Vec<_> =
                seeds.iter().filter(|(of, _)| of == target).map(|(_, input)| input.as_slice()).collect();
            assert!(!inputs.is_empty(), "nothing to start {target} from");
            (*target, check, inputs)
        })
        .collect();
    for seed in 0..ROUNDS {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let (target, check, inputs) = &by_target[random.below(by_target.len())];
        let input = mutated(inputs, &mut random);
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&input)));
        assert!(outcome.is_ok(), "{target} fails in round {seed} on {:?}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn captured_frames_themselves_pass_every_check() {
    for captured in captured::all() {
        for (target, input) in checks::seeds(&captured.bytes) {
            let (_, check) =
                checks::TARGETS.iter().find(|(name, _)| *name == target).expect("a known target");
            check(&input);
        }
    }
}

/// xorshift64: enough to scatter mutations, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn mutated(inputs: &[&[u8]], random: &mut Random) -> Vec<u8> {
    /// Lengths and letters at which decoders change their minds.
    const WORDS: [&[u8]; 14] = [
        &[0, 0, 0, 0],
        &[0xFF; 4],
        &[0x7F, 0xFF, 0xFF, 0xFF],
        &[0x80, 0, 0, 0],
        &[0, 1, 0, 0],
        b"\"",
        b"\\",
        b"\\u0001",
        b"\\ud83d",
        b"{",
        b"}",
        b"null",
        b"\x01",
        b"\x02",
    ];
    let mut input = inputs[random.below(inputs.len())].to_vec();
    input.truncate(INPUT_BYTES_MAX);
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        match random.below(6) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 => input.truncate(at),
            3 => {
                let word = WORDS[random.below(WORDS.len())];
                let end = (at + word.len()).min(input.len());
                input.splice(at..end, word.iter().copied());
            }
            4 => {
                let word = WORDS[random.below(WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
            _ => {
                let other = inputs[random.below(inputs.len())];
                let start = random.below(other.len());
                let end = (start + random.below(64)).min(other.len());
                input.splice(at..at, other[start..end].iter().copied());
            }
        }
    }
    input
}
