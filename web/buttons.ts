/** Turns a button on or off. One that is off keeps the keyboard's focus, which a disabled button loses. */
export function turn(button: HTMLElement, on: boolean): void {
  button.setAttribute('aria-disabled', String(!on))
}

/** Whether a button is on. */
export function isOn(button: HTMLElement): boolean {
  return button.getAttribute('aria-disabled') !== 'true'
}

/** Calls `act` when a button is pressed that is on. */
export function onPress(button: HTMLElement, act: () => void): void {
  button.addEventListener('click', () => isOn(button) && act())
}
