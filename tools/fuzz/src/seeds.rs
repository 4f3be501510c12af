//! Writes the corpora that fuzzing starts from: for each target, the parts of the captured frames that it reads.
//!
//!     seeds GOLDEN_FOLDER CORPUS_FOLDER

use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(golden), Some(corpus)) = (arguments.next(), arguments.next()) else {
        return Err("usage: seeds GOLDEN_FOLDER CORPUS_FOLDER".into());
    };
    let mut written = 0;
    for entry in fs::read_dir(golden)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "hex") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let digits: Vec<_> =
            fs::read_to_string(&path)?.chars().filter_map(|letter| letter.to_digit(16)).collect();
        let frame: Vec<_> = digits
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8))
            .collect();
        for (index, (target, input)) in ringmq_fuzz::checks::seeds(&frame).into_iter().enumerate() {
            let folder = corpus.join(target);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(format!("{name}-{index}")), input)?;
            written += 1;
        }
    }
    let (frames, sidecars) = (ringmq_fuzz::log_checks::seeds(), ringmq_fuzz::log_checks::sidecar_seeds());
    for (target, seeds) in [("log_frame", frames), ("sidecar", sidecars)] {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        for (index, seed) in seeds.into_iter().enumerate() {
            fs::write(folder.join(index.to_string()), seed)?;
            written += 1;
        }
    }
    println!("{written} seeds");
    Ok(())
}
