// Texts and wishes to click, written for this project.

export const TEXTS = [
  ["The market", "The council has decided to move the weekly market from the station square to the old harbour. The first market there opens on 4 May at 8 o’clock.\n\nThe harbour has more space for new stalls and street food. Anna Keller, who runs the cheese stall, says she will try it for a year. Some of the older traders would rather keep the place where their parents stood."],
  ["A letter", "Dear team,\n\nour numbers for the third quarter are in. We sold 1,240 units, 18 % more than last year. I would like each of you to send me your goals for the next quarter by Friday.\n\nMarcus will present the results to the board on Tuesday. Please do not share them outside the company before then."],
  ["Grandparents", "We should honour the customs that our grandparents handed down to us. Rules are there to be kept, even when nobody is watching."],
  ["Get out", "Life is boring without risks and surprises. I would rather fail at something new than succeed at something I have done a hundred times, and nobody tells me what to do."],
  ["Enough", "I do not care about being rich, and I would hate to give orders to others. Every person on earth deserves equal chances, and nature must be protected."],
  ["A timetable", "The train leaves from platform four at a quarter past nine."],
];

export const WISHES = [
  "a cautious parent who cares about tradition",
  "an adventurous traveller",
  "a nurse who puts people first",
  "an ambitious manager",
  "much more security, a bit less hedonism",
  "universalism=+0.8, power=-0.5",
];
