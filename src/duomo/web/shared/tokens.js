// @ts-check
/** The sheet of tokens.css, for shadow roots: one truth, fetched once, constructed so that no page's CSP forbids it. */

/** @returns {Promise<CSSStyleSheet>} */
async function load() {
  const url = new URL("./tokens.css", import.meta.url);
  for (let attempt = 0; ; attempt += 1) {
    try {
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(`tokens.css answered ${answer.status}`);
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(await answer.text());
      return sheet;
    } catch (error) {
      if (attempt === 3) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt));
    }
  }
}

export const tokens = await load();
