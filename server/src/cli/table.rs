//! Rows for people: aligned columns under a heading, no lines, so that `grep` and `awk` work on them too.

use comfy_table::{CellAlignment, Table, presets};

/// A column and how it is aligned.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    /// Words.
    Text(&'static str),
    /// Numbers: aligned on the right.
    Number(&'static str),
}

/// Rows under their heading, a line each. An empty cell is shown as `-`.
pub fn render(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(name) | Column::Number(name) => *name,
    }));
    for row in rows {
        table.add_row(row.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
    let last = columns.len().saturating_sub(1);
    for (index, (column, of_table)) in columns.iter().zip(table.column_iter_mut()).enumerate() {
        of_table.set_padding((0, if index == last { 0 } else { 2 }));
        if matches!(column, Column::Number(_)) {
            of_table.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `1 queue`, `8 queues`.
pub fn count(number: i64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_else_is_drawn() {
        let columns = [Column::Text("TOPIC"), Column::Number("QUEUES"), Column::Text("PERM")];
        let rows = [["orders", "8", "rw"], ["événements", "16", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            render(&columns, rows),
            "TOPIC       QUEUES  PERM\norders           8  rw\névénements      16  -\n"
        );
        assert_eq!(render(&columns, []), "TOPIC  QUEUES  PERM\n");
        assert_eq!([0, 1, 2].map(|n| count(n, "queue")), ["0 queues", "1 queue", "2 queues"]);
    }
}
