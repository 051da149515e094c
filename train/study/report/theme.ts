/** Colours of a theme. Arms tell them apart, prefixes follow an order. */
export interface Theme {
  page: string
  ink: string
  muted: string
  line: string
  accent: string
  raised: string
  good: string
  bad: string
  open: string
  arms: readonly string[]
  prefixes: readonly string[]
}

export const LIGHT: Theme = {
  page: '#ffffff',
  ink: '#1b1f24',
  muted: '#565d66',
  line: '#d5d9de',
  accent: '#0b5cad',
  raised: '#f4f6f8',
  good: '#116329',
  bad: '#a40e26',
  open: '#6b4e00',
  arms: ['#0072b2', '#c44f00', '#00805e', '#b0409a', '#7a5c00', '#5b4bb7', '#c2185b', '#4d4d4d'],
  prefixes: ['#0d0887', '#4903a0', '#7201a8', '#9c179e', '#bd3786', '#d0486c', '#d4593f', '#bd6a00'],
}

export const DARK: Theme = {
  page: '#14171c',
  ink: '#e8eaed',
  muted: '#a9b1bb',
  line: '#3a414b',
  accent: '#7db8ff',
  raised: '#1d2229',
  good: '#6fd58a',
  bad: '#ff8f9a',
  open: '#e8c35a',
  arms: ['#56b4e9', '#ff9e4a', '#3ddc97', '#f08ad0', '#e6c34d', '#a99cff', '#ff7b9c', '#d0d0d0'],
  prefixes: ['#8f8bff', '#b07cf5', '#d070e0', '#ee6fc0', '#ff7d9a', '#ff9a6e', '#ffbf4f', '#f5e860'],
}

/** Number of colours of each kind. */
export const COLORS = LIGHT.arms.length

function variables({ arms, prefixes, ...others }: Theme): string {
  const named = Object.entries(others).map(([name, value]) => `--${name}:${value}`)
  const numbered = (name: string, values: readonly string[]) => values.map((value, i) => `--${name}${i + 1}:${value}`)
  return [...named, ...numbered('arm', arms), ...numbered('prefix', prefixes)].join(';')
}

/** The style sheet of the page. The theme is the system's until the button chooses one. */
export const STYLE = `
:root{color-scheme:light;${variables(LIGHT)}}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){color-scheme:dark;${variables(DARK)}}}
:root[data-theme=dark]{color-scheme:dark;${variables(DARK)}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
header,main,footer{max-width:72rem;margin:0 auto;padding:0 1.25rem}
header{display:flex;justify-content:space-between;align-items:center;gap:1rem;padding-top:1rem}
h1{font-size:1.7rem;margin:.5rem 0}
h2{font-size:1.35rem;margin:2.5rem 0 .5rem;border-top:1px solid var(--line);padding-top:1.25rem}
h3{font-size:1.08rem;margin:2rem 0 .25rem}
p,ul,dl{margin:.5rem 0;max-width:52rem}
dt{font-weight:600;float:left;clear:left;margin-right:.5rem}
dd{margin:0}
a{color:var(--accent)}
button{font:inherit;color:var(--ink);background:var(--raised);border:1px solid var(--muted);border-radius:.4rem;padding:.3rem .8rem;cursor:pointer}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
figure{margin:.5rem 0 1.5rem}
figure svg{max-width:100%;height:auto;display:block}
figcaption{color:var(--muted);font-size:.93rem;max-width:52rem}
.scroll{overflow-x:auto;margin:.75rem 0}
table{border-collapse:collapse;width:max-content;max-width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--muted);padding:.25rem 0}
th,td{text-align:left;padding:.25rem .7rem;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word;max-width:26rem}
thead th{white-space:nowrap}
td p{margin:0 0 .25rem}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
tbody th{font-weight:500}
.number{text-align:right;white-space:nowrap}
pre{background:var(--raised);border:1px solid var(--line);border-radius:.4rem;padding:.5rem .75rem;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem;margin:.4rem 0}
summary{cursor:pointer;color:var(--accent);font-size:.9rem}
.verdict{font-weight:700;white-space:nowrap}
.verdict.supported{color:var(--good)}
.verdict.not-supported{color:var(--bad)}
.verdict.inconclusive{color:var(--open)}
@media print{button{display:none}}
`

/** The script of the page: one button changes the theme, the others save the tables. */
export const SCRIPT = `
const button=document.getElementById('theme'),root=document.documentElement
button.hidden=false
button.addEventListener('click',()=>{
const dark=root.dataset.theme?root.dataset.theme==='dark':matchMedia('(prefers-color-scheme:dark)').matches
root.dataset.theme=dark?'light':'dark'
})
for(const button of document.querySelectorAll('button[data-file]'))button.addEventListener('click',()=>{
const {file,type}=button.dataset
const bytes=Uint8Array.from(atob(document.getElementById(file).textContent),(character)=>character.charCodeAt(0))
const link=document.createElement('a')
link.download=file
link.href=URL.createObjectURL(new Blob([bytes],{type}))
link.click()
setTimeout(()=>URL.revokeObjectURL(link.href),10000)
})
`
