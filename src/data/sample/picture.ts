/** Drawing one picture of a class: size, place, angle, colours, background and noise are random. */
import type { Random, RgbImage } from "../types.js";
import type { SampleClass } from "./shapes.js";

type Colour = readonly [red: number, green: number, blue: number]; // 0..1

const SHORTEST = 80; // pixels of a side
const LONGEST = 400;
const LEAST_CONTRAST = 0.3; // of luma, between foreground and background

export function drawPicture({ shape, hue }: SampleClass, random: Random): RgbImage {
  const between = (low: number, high: number) => low + (high - low) * random();
  const { width, height } = pictureSize(random);
  const data = new Uint8ClampedArray(width * height * 3); // rounds, and cuts off what is beyond 0 to 255

  const radius = Math.min(width, height) * between(0.24, 0.44);
  const [centreX, centreY] = [width * between(0.38, 0.62), height * between(0.38, 0.62)];
  const angle = between(0, 2 * Math.PI);
  // One step to the right or down, in the shape's coordinates.
  const [stepX, stepY] = [Math.cos(angle) / radius, Math.sin(angle) / radius];
  const stretch = between(0.9, 1.1);
  const pixel = 1 / radius;
  const period = between(0.35, 0.7);

  const [background, foreground] = colours(hue, random);
  // The light falls from one side.
  const slope = between(0, 0.3);
  const lightAngle = between(0, 2 * Math.PI);
  const [lightX, lightY] = [Math.cos(lightAngle) / width, Math.sin(lightAngle) / height];
  const grain = between(0.02, 0.12);

  let at = 0;
  for (let y = 0; y < height; y++) {
    const dy = y + 0.5 - centreY;
    for (let x = 0; x < width; x++) {
      const dx = x + 0.5 - centreX;
      const u = (dx * stepX + dy * stepY) * stretch;
      const v = dy * stepX - dx * stepY;
      const coverage = shape(u, v, pixel, period);
      const light = slope * ((x - width / 2) * lightX + (y - height / 2) * lightY);
      const change = light + grain * (random() - 0.5);
      for (let channel = 0; channel < 3; channel++) {
        const back = background[channel] ?? 0;
        const front = foreground[channel] ?? 0;
        data[at++] = 255 * (back + (front - back) * coverage + change);
      }
    }
  }
  return { width, height, data: new Uint8Array(data.buffer) };
}

/** Portrait or landscape; small ones are more frequent. */
function pictureSize(random: Random): { width: number; height: number } {
  const long = Math.round(SHORTEST + (LONGEST - SHORTEST) * random() ** 2);
  const short = Math.max(SHORTEST, Math.round(long * (0.6 + 0.4 * random())));
  return random() < 0.5 ? { width: short, height: long } : { width: long, height: short };
}

/** Either may be the lighter one, so that the mean colour says nothing; a class's hue is the shape's. */
function colours(hue: number | undefined, random: Random): readonly [Colour, Colour] {
  for (;;) {
    const background = fromHsv(
      360 * random(),
      (hue === undefined ? 0.9 : 0.15) * random(),
      random(),
    );
    const foreground =
      hue === undefined
        ? fromHsv(360 * random(), 0.9 * random(), random())
        : fromHsv(hue + 10 * (random() - 0.5), 0.75 + 0.25 * random(), 0.7 + 0.3 * random());
    if (Math.abs(luma(background) - luma(foreground)) >= LEAST_CONTRAST) {
      return [background, foreground];
    }
  }
}

function luma([red, green, blue]: Colour): number {
  return 0.299 * red + 0.587 * green + 0.114 * blue;
}

/** Hue in degrees, saturation and value in 0..1. */
function fromHsv(hue: number, saturation: number, value: number): Colour {
  const channel = (offset: number) => {
    const k = (offset + hue / 60 + 6) % 6;
    return value * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1)));
  };
  return [channel(5), channel(3), channel(1)];
}
