import { byId } from './dom.ts'

/**
 * Asks before something is lost.
 * @param yes names the button that goes on
 * @returns whether the visitor chose it
 */
export function sure(question: string, yes: string): Promise<boolean> {
  const dialog = byId<HTMLDialogElement>('sure')
  byId('sure-question').textContent = question
  byId('sure-yes').textContent = yes
  byId('sure-yes').onclick = () => dialog.close('yes')
  byId('sure-no').onclick = () => dialog.close('no')
  dialog.returnValue = ''
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true })
  })
}
