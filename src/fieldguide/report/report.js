"use strict";
// Comfort only: everything can be read without this script. It reads data- attributes and writes text, never markup.
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  const key = (row, column, numeric) => {
    const cell = row.cells[column];
    const text = cell.dataset.v ?? cell.textContent.trim();
    return numeric ? (text === "" ? null : Number(text)) : text;
  };

  const order = (body, column, numeric, sign) => {
    const rows = [...body.rows].map((row, place) => ({ row, place, value: key(row, column, numeric) }));
    rows.sort((a, b) => {
      // What is absent stays last in either direction.
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.place - b.place;
      const step = numeric ? a.value - b.value : a.value.localeCompare(b.value);
      return sign * step || a.place - b.place;
    });
    body.append(...rows.map(({ row }) => row));
  };

  for (const table of all("table[data-sortable]")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.dataset.sort) return;
      const numeric = head.dataset.sort === "number";
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const next = now ? (now === "ascending" ? "descending" : "ascending") : numeric ? "descending" : "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", next);
        order(table.tBodies[0], column, numeric, next === "ascending" ? 1 : -1);
      });
    });
  }
})();
