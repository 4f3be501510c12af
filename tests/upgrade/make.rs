//! Makes the data folder that later versions must open: `upgrade_folder <version>`.

use std::process::ExitCode;

use ringmq_tests::upgrade::make;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some(version), None) = (words.next(), words.next()) else {
        eprintln!("upgrade_folder: say the version and nothing else");
        return ExitCode::from(2);
    };
    println!("{}", make(&version).display());
    ExitCode::SUCCESS
}
