// Language, light or dark, sorting and filtering of tables. The page is complete without it, in English.
const root = document.documentElement;

function speak(language) {
  root.lang = language === "zh" ? "zh-CN" : "en";
  root.dataset.lang = language;
}
speak((navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en");

document.querySelector("[data-language]").addEventListener("click", () => {
  speak(root.dataset.lang === "zh" ? "en" : "zh");
});

document.querySelector("[data-theme-button]").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

for (const button of document.querySelectorAll("th button[data-sort]")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const table = head.closest("table");
    const column = [...head.parentElement.children].indexOf(head);
    const falling = head.getAttribute("aria-sort") !== "descending";
    for (const other of head.parentElement.children) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const value = (row) => row.children[column].dataset.value ?? row.children[column].textContent;
    const text = button.dataset.sort === "text";
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (text) return x.localeCompare(y, root.lang);
      if (x === "" || y === "") return (x === "") - (y === "") || 0;
      return Number(x) - Number(y);
    };
    const body = table.tBodies[0];
    const sign = falling ? -1 : 1;
    const rows = [...body.rows].sort((a, b) =>
      !text && (value(a) === "" || value(b) === "") ? compare(a, b) : sign * compare(a, b),
    );
    body.append(...rows);
  });
}

for (const input of document.querySelectorAll("input[data-filter]")) {
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of document.getElementById(input.dataset.filter).tBodies[0].rows) {
      row.hidden = wanted !== "" && !row.cells[0].textContent.toLowerCase().includes(wanted);
    }
  });
}
