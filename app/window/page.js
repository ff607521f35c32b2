// The page's scripts. All of them are there before gradio draws anything, so that what is drawn can be used at once.

import * as mix from "./create/mix.js";
import * as paper from "./create/paper.js";
import * as createRoom from "./create/room.js";
import * as stage from "./create/stage.js";
import * as styleDoor from "./library/door.js";
import * as styleFields from "./library/fields.js";
import * as offers from "./library/offers.js";
import * as shelf from "./library/shelf.js";
import * as vanished from "./library/vanished.js";
import { guardFrames, guardQuestions } from "./loading.js";
import * as news from "./server/news.js";
import * as newsListener from "./server/news_listener.js";
import * as bases from "./settings/bases.js";
import * as buttons from "./train/buttons.js";
import * as cards from "./train/cards.js";
import * as artworkDoor from "./train/door.js";
import * as trainRoom from "./train/room.js";

// What HTML components and gradio's handlers call: app/window/scripts.py names it.
export const MODULES = {
  "create/mix": mix,
  "create/paper": paper,
  "create/room": createRoom,
  "create/stage": stage,
  "library/door": styleDoor,
  "library/fields": styleFields,
  "library/offers": offers,
  "library/shelf": shelf,
  "library/vanished": vanished,
  "server/news": news,
  "server/news_listener": newsListener,
  "settings/bases": bases,
  "train/buttons": buttons,
  "train/cards": cards,
  "train/door": artworkDoor,
  "train/room": trainRoom,
};

if (typeof window !== "undefined") {
  guardFrames();
  guardQuestions();
  window.atelierModules = MODULES;
}
