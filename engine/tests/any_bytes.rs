//! Seeded mutations of log frames and sidecars: whatever the bytes, reading them does not panic, and what is read is what is there.

use ringmq_engine::env::Random;

mod checks;

const MUTATIONS: u64 = 20_000;

/// A frame with a few bytes changed, cut or doubled, mostly where there is something.
fn mutated(chance: &Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[chance.index(seeds.len())].clone();
    for _ in 0..1 + chance.index(4) {
        let used = bytes.len().clamp(1, 256);
        let at = chance.index(used);
        match chance.index(5) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_within(at..),
            2 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = [0, 0xff][chance.index(2)]),
            _ => bytes[at] = chance.next() as u8,
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[test]
fn no_bytes_make_reading_a_log_panic() {
    let seeds = checks::seeds();
    seeds.iter().for_each(|seed| checks::log_frame(seed));
    for seed in 0..MUTATIONS {
        checks::log_frame(&mutated(&Random::new(seed), &seeds));
    }
}

#[test]
fn no_bytes_make_reading_a_sidecar_panic() {
    let seeds = checks::sidecar_seeds();
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| checks::sidecar(seed));
    for seed in 0..MUTATIONS / 4 {
        let chance = Random::new(seed);
        let mut bytes = seeds[chance.index(seeds.len())].clone();
        // The footer's numbers and the heads of rows are where lengths are.
        for _ in 0..1 + chance.index(4) {
            let at = match chance.index(3) {
                0 => bytes.len() - 1 - chance.index(512),
                _ => chance.index(bytes.len()),
            };
            bytes[at] = [0, 0xff, chance.next() as u8][chance.index(3)];
        }
        checks::sidecar(&bytes);
    }
}
