// The page's scripts. All of them are there before gradio draws anything, so that what is drawn can be used at once.

import { mount as mix } from "./create/mix.js";
import { mount as paper } from "./create/paper.js";
import { mount as stage } from "./create/stage.js";
import { mount as styleDoor } from "./library/door.js";
import { mount as offers } from "./library/offers.js";
import { mount as shelf } from "./library/shelf.js";
import { mount as vanished } from "./library/vanished.js";
import { guardFrames } from "./loading.js";
import { mount as news } from "./server/news.js";
import { mount as newsListener } from "./server/news_listener.js";
import { mount as buttons } from "./train/buttons.js";
import { mount as cards } from "./train/cards.js";
import { mount as artworkDoor } from "./train/door.js";

// What draws or connects an HTML component, by its module: app/window/scripts.py names it.
export const MOUNTS = {
  "create/mix": mix,
  "create/paper": paper,
  "create/stage": stage,
  "library/door": styleDoor,
  "library/offers": offers,
  "library/shelf": shelf,
  "library/vanished": vanished,
  "server/news": news,
  "server/news_listener": newsListener,
  "train/buttons": buttons,
  "train/cards": cards,
  "train/door": artworkDoor,
};

if (typeof window !== "undefined") {
  guardFrames();
  window.atelierMounts = MOUNTS;
}
