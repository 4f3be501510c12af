//! What settings that say "auto" ask of the machine.

use std::net::{IpAddr, UdpSocket};

use super::Settings;
use super::value::Auto;

/// What this machine answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// Its name.
    pub host_name: Option<String>,
    /// The address it reaches others from.
    pub address: Option<IpAddr>,
}

impl Machine {
    /// The one we run on.
    pub fn here() -> Machine {
        Machine {
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            host_name: std::fs::read_to_string("/proc/sys/kernel/hostname").ok(),
            address: outgoing_address(),
        }
    }
}

/// Whether a socket could listen on `address` here, that is, whether it is one of this machine's.
pub fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// "Connecting" a datagram socket sends nothing, but makes the kernel choose the address it would send from.
fn outgoing_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_unspecified())
}

impl Settings {
    /// Replaces every "auto" by what the machine says.
    pub fn fill_in(&mut self, machine: &Machine) {
        let server = &mut self.server;
        if server.shards == Auto::Auto {
            server.shards = Auto::Is(machine.cores);
        }
        if server.name == Auto::Auto {
            server.name = Auto::Is(node_name(machine.host_name.as_deref()));
        }
        if server.advertise == Auto::Auto {
            let everywhere = server.host.parse::<IpAddr>().is_ok_and(|host| host.is_unspecified());
            server.advertise = Auto::Is(match machine.address {
                Some(address) if everywhere => address.to_string(),
                None if everywhere => "127.0.0.1".to_owned(),
                _ => server.host.clone(),
            });
        }
    }
}

/// A host name as a broker name: other characters than those of RocketMQ names become `-`.
fn node_name(host_name: Option<&str>) -> String {
    let name: String = host_name
        .unwrap_or_default()
        .trim()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' })
        .collect();
    if name.is_empty() { "ringmq".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_becomes_what_the_machine_says() {
        let machine = Machine {
            cores: 3,
            host_name: Some("box.example\n".to_owned()),
            address: "10.0.0.7".parse().ok(),
        };
        let mut settings = Settings::default();
        settings.fill_in(&machine);
        assert_eq!(
            (settings.shards(), settings.name(), settings.advertise()),
            (3, "box-example", "127.0.0.1")
        );

        let mut settings = Settings::default();
        settings.server.host = "0.0.0.0".to_owned();
        settings.fill_in(&machine);
        assert_eq!(settings.advertise(), "10.0.0.7");
    }

    #[test]
    fn what_was_given_stays() {
        let machine = Machine { cores: 3, host_name: None, address: None };
        let mut settings = Settings::default();
        settings.server.shards = Auto::Is(1);
        settings.server.advertise = Auto::Is("mq.example".to_owned());
        settings.fill_in(&machine);
        assert_eq!((settings.shards(), settings.name(), settings.advertise()), (1, "ringmq", "mq.example"));
    }

    #[test]
    fn loopback_is_local_and_a_documentation_address_is_not() {
        assert!(is_local("127.0.0.1".parse().unwrap()));
        assert!(!is_local("192.0.2.77".parse().unwrap()));
    }
}
