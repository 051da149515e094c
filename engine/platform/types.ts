/** What a device is asked for. */
export interface DeviceRequest {
  /**
   * `gpu` (hardware only), `lavapipe`, `swiftshader`, or a part of an adapter's name. Default: the environment variable
   * PARAFORMER_ADAPTER, else hardware, then the system's software driver, then SwiftShader.
   */
  adapter?: string | undefined
  powerPreference?: GPUPowerPreference | undefined
  /** WebGPU features to require, beyond those the engine takes when they are there. */
  features?: readonly GPUFeatureName[] | undefined
}

/** An adapter in words. */
export interface AdapterSummary {
  /** Such as `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  name: string
  vendor: string
  architecture: string
  driver: string
  /** No real GPU behind it. */
  software: boolean
  subgroupMinSize: number
  subgroupMaxSize: number
}

/** A GPUDevice and what must stay referenced as long as it is used. */
export interface OpenedDevice {
  device: GPUDevice
  summary: AdapterSummary
  keepAlive: unknown[]
}

/** What differs between Node and a browser. */
export interface Platform {
  /** Opens the device that a request means. @throws Error in one line that says what to install, when there is none */
  openDevice(request: DeviceRequest): Promise<OpenedDevice>
}
