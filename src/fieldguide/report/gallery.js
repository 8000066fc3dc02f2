// The filters of the gallery, and the links that set them. It reads data- attributes and writes text, never markup.
(() => {
  "use strict";
  const filters = document.querySelector(".filters");
  if (!filters) return;
  filters.hidden = false;
  const shots = [...document.querySelectorAll("#gallery .shot")].map((node) => ({
    node,
    truth: node.dataset.truth,
    said: node.dataset.said.split(","),
    causes: node.dataset.causes.split(","),
  }));
  const choice = (name) => filters.querySelector(`[data-filter=${name}]`);
  const [run, and, truth, said, cause] = ["run", "and", "truth", "said", "cause"].map(choice);
  const choices = [run, and, truth, said, cause].filter(Boolean);
  const status = filters.querySelector("[role=status]");
  const rest = document.querySelector("#gallery details.rest");
  const value = (select) => (select ? select.value : "");

  const fits = (shot) => {
    if (value(truth) !== "" && shot.truth !== value(truth)) return false;
    if (value(cause) !== "" && !shot.causes.includes(value(cause))) return false;
    const missed = (answer) => answer !== shot.truth && (value(said) === "" || answer === value(said));
    if (value(run) === "all") return shot.said.every(missed);
    const named = [value(run), value(and)].filter((name) => name !== "");
    return named.length ? named.every((name) => missed(shot.said[Number(name)])) : shot.said.some(missed);
  };

  const show = () => {
    let count = 0;
    if (and) and.disabled = value(run) === "all";
    for (const shot of shots) {
      const visible = fits(shot);
      shot.node.hidden = !visible;
      count += visible;
    }
    const narrowed = choices.some((select) => select.value !== "");
    if (narrowed && rest) rest.open = true;
    status.textContent = narrowed ? `${count} of ${shots.length} pictures` : "";
  };

  const set = (wanted) => {
    for (const select of choices) select.value = wanted[select.dataset.filter] ?? "";
    show();
  };

  for (const select of choices) {
    select.addEventListener("change", () => {
      if (value(run) === "all" && and) and.value = "";
      show();
    });
  }
  filters.querySelector("[data-clear]").addEventListener("click", () => set({}));

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-run], a[data-both], a[data-cause]");
    if (!link) return;
    const [one, other] = (link.dataset.both ?? "").split(",");
    set({ run: link.dataset.run ?? one, and: other, truth: link.dataset.truth, said: link.dataset.said, cause: link.dataset.cause });
    // The link itself goes on to the first of these pictures.
  });
})();
