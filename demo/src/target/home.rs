//! The files in a target's home.

use std::fs;
use std::io;
use std::path::Path;

use crate::sql::data;

/// Puts the sample data into the folder `home`, which must exist; `name` is shown in prompts.
///
/// # Errors
/// When a file can't be written.
pub fn furnish(home: &Path, name: &str) -> io::Result<()> {
    data::create(&home.join("shop.db")).map_err(io::Error::other)?;
    fs::write(home.join(".profile"), PROFILE.replace("{name}", name))?;
    fs::write(home.join(".hushlogin"), "")?;
    fs::write(home.join("README"), README.replace("{name}", name))?;
    fs::write(home.join("config.yaml"), CONFIG)?;
    fs::write(home.join("deploy.log"), LOG)?;
    fs::write(home.join("contacts.json"), CONTACTS)
}

/// Read by bash and by dash. `/etc/profile` has set another PATH. The name is the login's: to the
/// machine everybody is whoever started the demo.
const PROFILE: &str = r#"PATH="$SQL_COMMANDS:$PATH"
if [ -n "$BASH" ]; then PS1='$USER@{name}:\w$ '; else PS1='$USER@{name}$ '; fi
[ -t 1 ] && cat "$HOME/README"
"#;

const README: &str = "This is {name}, a machine of the demo. Its home goes away with it.
  sql                        a prompt on shop.db: customers, orders, payroll
  sql 'select * from customers limit 3'
  cat config.yaml contacts.json deploy.log

";

/// The access key is the one of Amazon's own documentation.
const CONFIG: &str = "service: orders
replicas: 3
database:
  host: orders-db.internal
  user: orders
  password: correct-horse-battery-staple
aws:
  access_key_id: AKIAIOSFODNN7EXAMPLE
  secret_access_key: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
contacts:
  - name: Ada Okafor
    email: ada.okafor@example.net
    phone: +1-202-555-0101
";

const LOG: &str = "2026-03-02T08:14:07Z INFO  orders 1.18.2 starting on port 8080
2026-03-02T08:14:08Z INFO  connected to orders-db.internal as orders
2026-03-02T08:15:31Z WARN  payment declined order=71 card=4111 1111 1111 1111
2026-03-02T08:15:32Z INFO  notified customer email=bram.de.vries@example.org
2026-03-02T08:20:00Z INFO  120 orders in the queue
";

const CONTACTS: &str = r#"[
  {"name": "Ada Okafor", "email": "ada.okafor@example.net", "phone": "+1-202-555-0101"},
  {"name": "Bram de Vries", "email": "bram.de.vries@example.org", "phone": "+1-202-555-0102"}
]
"#;
