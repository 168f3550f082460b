import { Inject, Injectable } from '@nestjs/common';
import { OnRtSmsStatus, RtSmsService, type RtSmsStatusEvent } from 'nestjs-rt-sms';

@Injectable()
export class OrdersService {
  readonly delivered: string[] = [];

  constructor(@Inject(RtSmsService) private readonly sms: RtSmsService) {}

  async shipped(msisdn: string, order: string): Promise<string> {
    const { uid } = await this.sms.send({ msisdn, text: `Заказ ${order} в пути`, ref: order });
    return uid;
  }

  @OnRtSmsStatus('delivered')
  onDelivered({ ref, source }: RtSmsStatusEvent): void {
    this.delivered.push(`${ref} by ${source}`);
  }
}
