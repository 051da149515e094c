/** Calls a function for each item, several at a time, and gives the results in the order of the items. */
export async function* inOrder<T, R>(
  items: Iterable<T>,
  atOnce: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<PromiseSettledResult<R>, void> {
  const pending: Promise<PromiseSettledResult<R>>[] = []
  for (const item of items) {
    pending.push(Promise.allSettled([work(item)]).then(([result]) => result))
    if (pending.length === atOnce) yield await pending.shift()!
  }
  for (const result of pending) yield await result
}
