import { type Command, Option } from 'commander'
import { checkAddress, connectFleet, type FleetAddress } from '../fleet/connect.ts'
import { FleetStore } from '../fleet/store.ts'

/** The flags by which commands reach a fleet. */
export interface FleetFlags {
  fleet?: string
  auth?: string
  ca?: string
}

/** Adds the flags by which a command reaches a fleet. */
export function addFleetOptions(command: Command, help = "the fleet's server, such as nats://localhost:4222"): Command {
  return command
    .addOption(new Option('--fleet <url>', help).env('PARAFORMER_FLEET'))
    .addOption(
      new Option('--auth <file>', 'file with the credentials: an NKey seed, .creds, or a token; chmod 600').env(
        'PARAFORMER_FLEET_AUTH',
      ),
    )
    .option('--ca <file>', "certificates that may sign the server's, for tls:// addresses")
}

/** Opens a fleet. @param name a worker's, or `coordinator` @param create whether streams and buckets are made where there are none */
export async function openFleet(
  { fleet, auth, ca }: FleetFlags & { fleet: string },
  name: string,
  create: boolean,
  say: (text: string) => void,
): Promise<FleetStore> {
  const address: FleetAddress = { url: checkAddress(fleet), auth, ca }
  const connection = await connectFleet(address, name, say)
  try {
    return await FleetStore.open(connection, create)
  } catch (error) {
    await connection.close()
    throw error
  }
}
