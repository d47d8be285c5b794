// Sets what the viewer cannot know before it is in the page: calls that are tried go to the server that shows the page,
// it is dark where the person's screen is, and a narrow screen, on which the viewer shows no list of its own, has one on top.
const viewer = document.querySelector("rapi-doc");
viewer.setAttribute("server-url", new URL(".", location.href).href.replace(/\/$/, ""));
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => viewer.setAttribute("theme", dark.matches ? "dark" : "light");
dark.addEventListener("change", paint);
paint();

viewer.addEventListener("spec-loaded", (event) => {
  const contents = document.getElementById("contents");
  for (const group of event.detail.tags) {
    const title = document.createElement("h2");
    title.textContent = group.name;
    contents.append(title);
    for (const operation of group.paths) {
      const link = document.createElement("a");
      link.textContent = operation.summary;
      link.href = "#" + operation.elementId;
      link.addEventListener("click", () => contents.removeAttribute("open"));
      contents.append(link);
    }
  }
});
