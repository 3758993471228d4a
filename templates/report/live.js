"use strict";
(() => {
  const every = 2000, main = document.querySelector("main"), stale = document.getElementById("stale");
  const open = (root) => [...root.querySelectorAll("details[open][id]")].map((each) => each.id);
  let last = main.innerHTML;
  const look = async () => {
    try {
      const answer = await fetch(location.pathname, { cache: "no-cache" });
      if (!answer.ok) throw new Error(String(answer.status));
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      const text = found.querySelector("main").innerHTML;
      if (text !== last) {
        const kept = open(main), scrolled = [...main.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
        last = text;
        main.replaceChildren(...found.querySelector("main").childNodes);
        kept.forEach((id) => { const each = document.getElementById(id); if (each) each.open = true; });
        main.querySelectorAll(".scroll").forEach((each, at) => { each.scrollLeft = scrolled[at] || 0; });
        document.title = found.title;
      }
      stale.classList.remove("on");
    } catch { stale.classList.add("on"); }
    setTimeout(look, every);
  };
  setTimeout(look, every);
})();
