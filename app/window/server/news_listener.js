// Passes news on to the server's handlers, while the room is looked at; who comes back finds it drawn anew.

export function mount({ element, trigger, props }) {
  let timer = 0;
  const room = props.everywhere ? null : element.closest('[role="tabpanel"]');
  const tell = () => {
    if (!room || room.offsetParent !== null) trigger("told");
  };
  document.addEventListener("atelier:news", ({ detail }) => {
    if (!element.isConnected || !detail.some((subject) => props.subjects.includes(subject))) return;
    clearTimeout(timer);
    timer = setTimeout(tell, props.wait_ms);
  });
}
