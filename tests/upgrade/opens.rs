//! Data folders of earlier versions are opened, and everything is there.

use ringmq_tests::upgrade::{archives, check};

#[test]
fn the_data_folder_of_every_earlier_version_opens_with_all_it_holds() {
    let archives = archives();
    assert!(!archives.is_empty(), "there is one of the first version");
    for archive in archives {
        println!("{}", archive.display());
        check(&archive);
    }
}
