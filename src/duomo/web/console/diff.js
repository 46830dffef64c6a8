// @ts-check
/** Two texts compared line by line. */

/** @typedef {{kind: "same" | "added" | "removed" | "gap", text: string}} Line */

const AROUND = 2; // unchanged lines shown beside a change

/**
 * The longest common subsequence, by the table of its lengths.
 * @param {string} before @param {string} after @returns {Line[]}
 */
export function diff(before, after) {
  const a = before.split("\n"), b = after.split("\n");
  const longest = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
  }
  /** @type {Line[]} */
  const lines = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) lines.push({ kind: "same", text: a[i] }), (i += 1), (j += 1);
    else if (i < a.length && (j === b.length || longest[i + 1][j] >= longest[i][j + 1])) lines.push({ kind: "removed", text: a[i] }), (i += 1);
    else lines.push({ kind: "added", text: b[j] }), (j += 1);
  }
  return shortened(lines);
}

/** Leaves out what lies far from any change. @param {Line[]} lines @returns {Line[]} */
function shortened(lines) {
  const near = lines.map((_, at) => lines.slice(Math.max(0, at - AROUND), at + AROUND + 1).some((line) => line.kind !== "same"));
  /** @type {Line[]} */
  const shown = [];
  lines.forEach((line, at) => {
    if (near[at]) shown.push(line);
    else if (shown.at(-1)?.kind !== "gap") shown.push({ kind: "gap", text: "" });
  });
  return shown.some((line) => line.kind === "added" || line.kind === "removed") ? shown : [];
}
