// SPDX-License-Identifier: Apache-2.0
// Pages, their sections and the names of the library, as one types. Names that begin with the words come first.
const field = document.getElementById("find"), list = document.getElementById("found");
let chosen = -1;

function rank(entry, words) {
  const name = entry[0].toLowerCase();
  if (!words.every((word) => name.includes(word))) return null;
  const last = name.split("::").pop();
  const place = last === words[0] ? 0 : last.startsWith(words[0]) ? 1 : 2;
  return place * 1000 + (entry[1] === "page" ? 0 : 200) + name.length;
}

function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = words.length === 0 ? [] : searchIndex
    .map((entry) => [rank(entry, words), entry]).filter(([value]) => value !== null)
    .sort((a, b) => a[0] - b[0]).slice(0, 12);
  chosen = -1;
  list.replaceChildren(...found.map(([, [name, kind, address]]) => {
    const item = document.createElement("li"), link = document.createElement("a"), what = document.createElement("small");
    link.href = address;
    link.textContent = name + " ";
    what.textContent = kind;
    link.append(what);
    item.append(link);
    return item;
  }));
  list.hidden = found.length === 0;
}

field.addEventListener("input", show);
field.addEventListener("keydown", (event) => {
  const links = list.querySelectorAll("a");
  if (event.key === "Escape") list.hidden = true;
  if (event.key === "Enter" && links.length > 0) location.href = links[Math.max(chosen, 0)].href;
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  event.preventDefault();
  chosen = Math.min(Math.max(chosen + (event.key === "ArrowDown" ? 1 : -1), 0), links.length - 1);
  links.forEach((link, i) => link.classList.toggle("chosen", i === chosen));
});
document.addEventListener("click", (event) => { if (!event.target.closest(".find")) list.hidden = true; });
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== field) { event.preventDefault(); field.focus(); }
});
// The page at hand, in the list of pages.
for (const link of document.querySelectorAll("nav.pages a"))
  if (link.href === location.href.split("#")[0]) {
    link.setAttribute("aria-current", "page");
    link.closest("details").open = true;
  }
