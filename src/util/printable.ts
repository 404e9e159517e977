const MAX_LENGTH = 2000; // characters

/** Names come from files and folders: neither their length nor their control characters reach a terminal. */
export function printable(text: string, longest = MAX_LENGTH): string {
  const short = text.length > longest ? `${text.slice(0, longest)}...` : text;
  return short.replace(/\p{Cc}|\p{Cf}|\p{Zl}|\p{Zp}/gu, (character) => {
    return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
}
