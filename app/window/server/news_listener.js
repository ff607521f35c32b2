// Passes news on to the server's handlers, while the room is looked at; who comes back finds it drawn anew.
let due = 0;
const room = props.everywhere ? null : element.closest('[role="tabpanel"]');
document.addEventListener('atelier:news', event => {
  if (!element.isConnected || !event.detail.some(subject => props.subjects.includes(subject))) return;
  clearTimeout(due);
  due = setTimeout(() => { if (!room || room.offsetParent !== null) trigger('told'); }, props.wait_ms);
});
