//! The names that people know from `mqadmin`: they work, and say what the command is called here.
//!
//! Pure: a command line of `mqadmin` becomes one of ours, before it is parsed. What an option of theirs has no meaning here
//! for is an error that names our command.

/// One of `mqadmin`'s commands.
struct Alias {
    /// Its name there.
    name: &'static str,
    /// Ours.
    command: &'static [&'static str],
    /// What its options become.
    options: &'static [(&'static str, Becomes)],
    /// Flags of ours that are always meant.
    always: &'static [&'static str],
}

/// What an option of `mqadmin` becomes.
#[derive(Clone, Copy)]
enum Becomes {
    /// A value without a flag, in this place.
    Place(usize),
    /// This flag with the value.
    Flag(&'static str),
    /// Nothing: the value is dropped.
    Nothing,
    /// Nothing, and there is no value.
    Switch,
}

use Becomes::{Flag, Nothing, Place, Switch};

const ALIASES: &[Alias] = &[
    Alias {
        name: "updateTopic",
        command: &["topic", "create"],
        options: &[
            ("-t", Place(0)),
            ("-w", Flag("--queues-per-broker")),
            ("-r", Nothing),
            ("-c", Flag("--cluster")),
            ("-p", Flag("--perm")),
            ("-o", Nothing),
        ],
        always: &["--or-change"],
    },
    Alias {
        name: "updateTopicPerm",
        command: &["topic", "alter"],
        options: &[("-t", Place(0)), ("-p", Flag("--perm")), ("-c", Nothing)],
        always: &[],
    },
    Alias {
        name: "deleteTopic",
        command: &["topic", "delete"],
        options: &[("-t", Place(0)), ("-c", Nothing)],
        always: &["--yes"],
    },
    Alias { name: "topicList", command: &["topic", "list"], options: &[("-c", Switch)], always: &["--all"] },
    Alias {
        name: "topicRoute",
        command: &["topic", "describe"],
        options: &[("-t", Place(0)), ("-l", Switch)],
        always: &[],
    },
    Alias {
        name: "topicStatus",
        command: &["topic", "describe"],
        options: &[("-t", Place(0)), ("-c", Nothing)],
        always: &[],
    },
    Alias {
        name: "topicClusterList",
        command: &["topic", "describe"],
        options: &[("-t", Place(0))],
        always: &[],
    },
    Alias {
        name: "clusterList",
        command: &["cluster"],
        options: &[("-m", Switch), ("-i", Nothing), ("-c", Nothing)],
        always: &[],
    },
    Alias {
        name: "brokerStatus",
        command: &["cluster"],
        options: &[("-b", Nothing), ("-c", Nothing)],
        always: &[],
    },
    Alias {
        name: "updateSubGroup",
        command: &["group", "create"],
        options: &[("-g", Place(0)), ("-c", Nothing), ("-r", Flag("--retries"))],
        always: &[],
    },
    Alias {
        name: "deleteSubGroup",
        command: &["group", "delete"],
        options: &[("-g", Place(0)), ("-c", Nothing), ("-r", Nothing)],
        always: &["--yes"],
    },
    Alias {
        name: "consumerProgress",
        command: &["group", "describe"],
        options: &[("-g", Place(0)), ("-t", Nothing), ("-s", Nothing), ("-c", Nothing)],
        always: &[],
    },
    Alias {
        name: "consumerConnection",
        command: &["group", "describe"],
        options: &[("-g", Place(0))],
        always: &[],
    },
    Alias {
        name: "resetOffsetByTime",
        command: &["group", "reset-offset"],
        options: &[
            ("-g", Place(0)),
            ("-t", Flag("--topic")),
            ("-s", Flag("--to")),
            ("-f", Nothing),
            ("-c", Switch),
        ],
        always: &["--yes"],
    },
    Alias {
        name: "skipAccumulatedMessage",
        command: &["group", "reset-offset"],
        options: &[("-g", Place(0)), ("-t", Flag("--topic")), ("-f", Nothing)],
        always: &["--to", "last", "--yes"],
    },
    Alias {
        name: "queryMsgByKey",
        command: &["message", "by-key"],
        options: &[
            ("-t", Place(0)),
            ("-k", Place(1)),
            ("-b", Flag("--since")),
            ("-e", Flag("--until")),
            ("-m", Flag("--max")),
            ("-c", Nothing),
        ],
        always: &[],
    },
    Alias {
        name: "queryMsgById",
        command: &["message", "by-id"],
        options: &[("-t", Place(0)), ("-i", Place(1)), ("-c", Nothing)],
        always: &[],
    },
    Alias {
        name: "queryMsgByUniqueKey",
        command: &["message", "by-id"],
        options: &[("-t", Place(0)), ("-i", Place(1)), ("-c", Nothing)],
        always: &[],
    },
    Alias {
        name: "sendMessage",
        command: &["send"],
        options: &[("-t", Place(0)), ("-p", Place(1)), ("-k", Flag("--key")), ("-c", Flag("--tag"))],
        always: &[],
    },
    Alias {
        name: "consumeMessage",
        command: &["tail"],
        options: &[
            ("-t", Place(0)),
            ("-g", Flag("--group")),
            ("-s", Flag("--from")),
            ("-c", Flag("--limit")),
        ],
        always: &[],
    },
];

/// Options that name our flag too, whatever the command.
const EVERYWHERE: [(&str, Becomes); 2] = [("-n", Flag("--namesrv")), ("--format", Flag("--format"))];

/// A command line of `mqadmin`, without the program's name, as one of ours. `None` if it is none of theirs.
pub fn translate(arguments: &[String]) -> Option<Result<Vec<String>, String>> {
    let (name, options) = arguments.split_first()?;
    let alias = ALIASES.iter().find(|alias| alias.name == name)?;
    Some(alias.translate(options))
}

impl Alias {
    fn translate(&self, options: &[String]) -> Result<Vec<String>, String> {
        let mut places: Vec<(usize, String)> = Vec::new();
        let mut flags: Vec<String> = self.always.iter().map(|flag| (*flag).to_owned()).collect();
        let mut options = options.iter();
        while let Some(option) = options.next() {
            let known = self.options.iter().chain(&EVERYWHERE).find(|known| known.0 == option);
            let Some((_, becomes)) = known else {
                return Err(format!("{option} of {} has no counterpart here", self.name));
            };
            if matches!(becomes, Switch) {
                continue;
            }
            let Some(value) = options.next() else {
                return Err(format!("{option} of {} needs a value", self.name));
            };
            match becomes {
                Place(place) => places.push((*place, value.clone())),
                Flag(flag) => flags.extend([(*flag).to_owned(), self.value(flag, value)]),
                Nothing | Switch => {}
            }
        }
        // Theirs has 8 on each broker unless said.
        if self.name == "updateTopic" && !flags.iter().any(|flag| flag == "--queues-per-broker") {
            flags.extend(["--queues-per-broker", "8"].map(str::to_owned));
        }
        places.sort();
        // Without a group, theirs lists all groups.
        let command: &[&str] = match (self.name, places.is_empty()) {
            ("consumerProgress", true) => &["group", "list"],
            _ => self.command,
        };
        let command = command.iter().map(|word| (*word).to_owned());
        Ok(command.chain(places.into_iter().map(|(_, value)| value)).chain(flags).collect())
    }

    /// A value as ours is written.
    fn value(&self, flag: &str, value: &str) -> String {
        match (flag, value) {
            ("--to", "now" | "currentTimeMillis" | "-1") => "last".to_owned(),
            // `yyyy-MM-dd#HH:mm:ss:SSS`
            ("--to" | "--since" | "--until" | "--from", time) if time.contains('#') => {
                let time = time.replacen('#', "T", 1);
                match time.match_indices(':').nth(2) {
                    Some((at, _)) => format!("{}.{}", &time[..at], &time[at + 1..]),
                    None => time,
                }
            }
            _ => value.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(line: &str) -> String {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match translate(&arguments) {
            None => "none".to_owned(),
            Some(Ok(ours)) => ours.join(" "),
            Some(Err(error)) => format!("error: {error}"),
        }
    }

    #[test]
    fn their_command_lines_become_ours() {
        let rows = [
            (
                "updateTopic -n ns:9876 -c DefaultCluster -t T -r 8 -w 8 -p 6",
                "topic create T --or-change --namesrv ns:9876 --cluster DefaultCluster --queues-per-broker 8 --perm 6",
            ),
            ("updateTopic -c C -t T", "topic create T --or-change --cluster C --queues-per-broker 8"),
            ("updateTopicPerm -t T -p 4 -c C", "topic alter T --perm 4"),
            ("deleteTopic -c C -t T", "topic delete T --yes"),
            ("topicList", "topic list --all"),
            ("topicRoute -t T -l", "topic describe T"),
            ("clusterList -m -i 5", "cluster"),
            ("consumerProgress", "group list"),
            ("consumerProgress -g G", "group describe G"),
            ("resetOffsetByTime -s now -g G -t T", "group reset-offset G --yes --to last --topic T"),
            (
                "resetOffsetByTime -g G -t T -s 2026-11-24#15:00:00:123",
                "group reset-offset G --yes --topic T --to 2026-11-24T15:00:00.123",
            ),
            ("skipAccumulatedMessage -g G -t T", "group reset-offset G --to last --yes --topic T"),
            ("queryMsgByKey -k K -t T", "message by-key T K"),
            ("queryMsgByUniqueKey -i I -t T", "message by-id T I"),
            ("sendMessage -p body -t T -c tag -k key", "send T body --tag tag --key key"),
            ("consumeMessage -t T -g G -c 5", "tail T --group G --limit 5"),
            ("updateTopic -u true", "error: -u of updateTopic has no counterpart here"),
            ("updateTopic -t", "error: -t of updateTopic needs a value"),
            ("topic list", "none"),
            ("updatetopic -t T", "none"),
        ];
        for (theirs, ours) in rows {
            assert_eq!(translated(theirs), ours, "{theirs}");
        }
        assert_eq!(translate(&[]), None);
    }
}
